import { defineConfig } from 'vitest/config';

// The page runs under default-src 'self': nothing is inlined, not even as a data URL.
export default defineConfig({
  build: { target: 'es2022', assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  server: { proxy: { '/api': 'http://127.0.0.1:8450', '/metrics': 'http://127.0.0.1:8450' } },
  test: { environment: 'happy-dom', include: ['src/**/*.test.ts'] },
});
