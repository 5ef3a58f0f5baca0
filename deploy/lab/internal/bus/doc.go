// Package bus is the data of a site: a NATS server with JetStream inside our process, the stream of the site's
// own orders, and true copies of the other sites' streams.
//
// The servers are independent of each other: no cluster, no quorum across sites, as multi-active sites need
// it. A copy is made by a replicator of ours, not by JetStream's mirrors: between independent servers those
// need leaf nodes with an account per link, which works, but a mirror that lost its source asks again only
// after 30 s and then backs off to minutes, which is longer than the lab's faults. The replicator pulls from
// the source over the cable, writes with the origin's sequence in a header, and resumes behind the last
// message that is in the copy: no order is lost, none is there twice.
package bus
