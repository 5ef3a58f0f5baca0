// Package api is the window: it shows what is known and carries orders in, and decides nothing.
//
// It is the only room that knows gin. The contract comes first: openapi.yaml is written by hand, the types,
// the routes and the client are generated from it, and a test holds every answer against it.
package api

//go:generate go tool -modfile=../../../tools/oapi/go.mod oapi-codegen -config oapi.yaml openapi.yaml
