// Package sitetest starts real servers for the tests of what an agent says of several sites: MariaDB, MySQL, PostgreSQL and NATS, in
// folders of their own on loopback ports. Only tests import it.
package sitetest
