// Package director sends users to sites by integer weights and moves them when a signed command says so. It
// has no health checks of its own and tries no second site: what it sends to a dead site fails, which is what
// makes somebody else's decision visible.
package director
