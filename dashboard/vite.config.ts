/// <reference types="vitest/config" />
// How the front end is built: one page, one script, one style sheet, no request to anywhere else.
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

// `npm run dev` talks to a server that already runs: `impactiq serve -m MODEL`.
const server = process.env['IMPACTIQ_URL'] ?? 'http://127.0.0.1:8501';

export default defineConfig({
  plugins: [svelte()],
  base: './',
  build: {
    target: 'es2022',
    // The server's content-security policy allows files of its own and nothing inline.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 900,
    reportCompressedSize: true,
  },
  server: {
    proxy: Object.fromEntries(['/v1', '/health', '/metrics', '/openapi.json'].map((path) => [path, server])),
  },
  test: { include: ['tests/unit/**/*.test.ts'] },
});
