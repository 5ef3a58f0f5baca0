// Package contract holds the binaries to what they promise each other and the world: names of series, pages to
// people, statistics over a real store, what a person sees in a browser, what a restart keeps. It treats them as
// strangers: they are started as programs and spoken to over HTTP.
package contract
