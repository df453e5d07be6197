"""What a user writes: jobs, tasks, edges, retry delays, trigger rules. Pure; imports only `schedules` and `errors`."""
