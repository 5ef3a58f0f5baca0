// Package proxy is the bad cable: it carries TCP between two processes of the lab and can be cut, made lossy,
// slow or refusing while connections stand.
//
// A cut is a black hole as close to the real one as a user-space proxy gets: bytes in flight are held, not
// dropped and not answered with a reset, so that a connection lives on when the cut heals; and new
// connections are not accepted by the kernel at all, so that a connect runs into its time-out (on Linux; on
// other systems the connect succeeds and nothing follows). An upstream that refuses is passed on as a
// refusal: the port is closed until the upstream listens again.
package proxy
