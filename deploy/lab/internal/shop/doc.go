// Package shop is the service that users of the lab want: it takes an order and writes it into the data of its
// own site. It is a plain HTTP service that knows nothing of Evenkeel.
//
// Its health check does real work: it writes to JetStream with a short deadline and answers 503 when that
// fails. Two faults are built in. slow delays users' requests, and the health check by five eighths of it: a
// health check does a part of the work, and with the default of 800 ms it is slower than its objective but
// within a probe's deadline, so that the shop is slow and not dead. errors fails a share of users' requests and
// leaves the health check alone: it tells its own truth, which is that writing works. Only the users and the
// edge see such a fault, as with a bad deploy that the health check does not cover.
package shop
