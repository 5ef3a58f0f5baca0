// Package web is the window: the built files of the live page, embedded into the server.
//
// Without a build (npm ci && npm run build in this folder) a fallback page is served that says so.
package web
