import { mount } from 'svelte';
import App from './App.svelte';
import './css/tokens.css';
import './css/base.css';

const target = document.getElementById('app')!;
target.replaceChildren();
mount(App, { target });
