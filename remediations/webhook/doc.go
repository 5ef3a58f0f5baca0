// Package webhook is the hand that rings: it delivers a command as a signed Standard Webhooks 1.0.0 message, once
// per call, and says what it knows of the outcome.
//
// One secret per endpoint. While a secret is being rotated give the new one first and the old one second: both sign,
// the receiver accepts either.
//
// # How answers are read
//
//	2xx                          done; accepted when it is a 202 or the body says {"state":"accepted"}
//	409                          stale, with "current" when the body carries it
//	412                          refused, with "refused_by" and "detail"
//	410 {"error":"expired"}      expired; any other 410 is Permanent (the endpoint is gone)
//	408, 425, 429, 5xx           Transient with Retry-After
//	502, 504                     Unknown: a gateway may have passed the command on before it gave up
//	3xx                          Permanent: redirects are not followed
//	other 4xx                    Permanent: 401 is the wrong secret, 404 the wrong address
//	no connection                Transient: surely not sent
//	silence or a break after     Unknown: look at the world before sending again
//	2xx longer than 64 KiB       Unknown: whoever wrote this is no executor
//
// # Where it may go
//
// Public addresses. Private, shared, loopback and unique local addresses need AllowPrivate. Link-local addresses
// and the metadata services of the clouds are refused always, after name resolution. Proxies of the environment are
// not used and plain http needs AllowPrivate.
package webhook
