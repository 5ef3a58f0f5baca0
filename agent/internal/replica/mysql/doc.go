// Package mysql looks at replication of MariaDB and MySQL: it tells what one server knows of its links, and writes nothing
// but heartbeats.
package mysql
