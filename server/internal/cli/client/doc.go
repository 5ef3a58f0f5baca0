// Package client is the API as Go calls, generated from the same openapi.yaml as the server.
package client

//go:generate go tool -modfile=../../../../tools/oapi/go.mod oapi-codegen -config oapi.yaml ../../api/openapi.yaml
