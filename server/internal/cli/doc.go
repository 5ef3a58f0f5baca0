// Package cli is the operator's hand: commands that ask a running server or give it orders.
//
// Everything goes through the API by the generated client; nothing here reads the ledger. Reading needs no
// token; an order needs the admin token, which the first start of a server leaves in its data directory.
package cli
