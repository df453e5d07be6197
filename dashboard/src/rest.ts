/** All that the first page can do without: one piece, which is loaded when the first of it is needed, or there is time. In
    the order in which it is packed best: what is alike stands near. */

export { default as Execution } from './pages/Execution.svelte';
export { default as Job } from './pages/Job.svelte';
export { default as Runs } from './pages/Runs.svelte';
export { default as Events } from './pages/Events.svelte';
export { default as System } from './pages/System.svelte';
export { default as BulkJobs } from './ui/BulkJobs.svelte';
export { default as Palette } from './ui/Palette.svelte';
export { default as RunForm } from './ui/RunForm.svelte';
export { default as Help } from './ui/Help.svelte';
export { default as SignIn } from './ui/SignIn.svelte';
