package mysql

import (
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	driverpkg "github.com/go-sql-driver/mysql"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
)

// Server is where a server is and who asks it.
type Server struct {
	Address      string // host:port
	User         string
	PasswordFile string        // read at every connect, so that it may be changed; empty: no password
	TLS          *tls.Config   // nil: plain
	Timeout      time.Duration // of one look or write; 0 is 3 s
}

const defaultTimeout = 3 * time.Second

// errPassword says that the password file cannot be read; its cause stays out of reports.
var errPassword = errors.New("the password file cannot be read")

// session keeps one connection. It is not safe for concurrent use.
type session struct {
	server Server
	writes bool
	db     *sql.DB
	conn   *sql.Conn
}

// open gives the connection, a new one when there is none or the one there is broken.
func (s *session) open(ctx context.Context) (*sql.Conn, error) {
	if s.conn != nil {
		err := s.conn.PingContext(ctx)
		if err == nil || ctx.Err() != nil {
			return s.conn, err
		}
		s.close()
	}
	config := driverpkg.NewConfig()
	config.Net, config.Addr, config.User, config.TLS = "tcp", s.server.Address, s.server.User, s.server.TLS
	config.ConnectionAttributes = "program_name:evenkeel"
	config.InterpolateParams = true // one round trip a statement, and none that the server must forget again
	config.Logger = &driverpkg.NopLogger{}
	if s.server.PasswordFile != "" {
		secret, err := os.ReadFile(s.server.PasswordFile)
		if err != nil {
			return nil, errPassword
		}
		config.Passwd = strings.TrimRight(string(secret), "\r\n")
	}
	connector, err := driverpkg.NewConnector(config)
	if err != nil {
		return nil, fmt.Errorf("read the connection settings: %w", err)
	}
	s.db = sql.OpenDB(connector)
	if s.conn, err = s.db.Conn(ctx); err != nil {
		s.close()
		return nil, fmt.Errorf("connect: %w", err)
	}
	if err := s.prepare(ctx); err != nil {
		s.close()
		return nil, fmt.Errorf("prepare the connection: %w", err)
	}
	return s.conn, nil
}

// prepare limits what the connection may do and for how long. The two flavors name the limit of time differently.
func (s *session) prepare(ctx context.Context) error {
	var row serverRow
	if err := s.conn.QueryRowContext(ctx, "SELECT VERSION()").Scan(&row.Version); err != nil {
		return err
	}
	limit := fmt.Sprintf("max_execution_time = %d", s.server.Timeout.Milliseconds())
	if row.mariaDB() {
		limit = fmt.Sprintf("max_statement_time = %.3f", s.server.Timeout.Seconds())
	}
	statements := []string{"SET SESSION time_zone = '+00:00', " + limit}
	if s.writes {
		statements = append(statements,
			fmt.Sprintf("SET SESSION innodb_lock_wait_timeout = %d", max(int(s.server.Timeout.Seconds()), 1)))
	} else {
		statements = append(statements, "SET SESSION TRANSACTION READ ONLY")
	}
	for _, statement := range statements {
		if _, err := s.conn.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) close() {
	if s.conn != nil {
		_ = s.conn.Close() // what a broken connection says at its end helps nobody
	}
	if s.db != nil {
		_ = s.db.Close()
	}
	s.conn, s.db = nil, nil
}

// blame turns an error into a reason and a sentence without what the server or the driver wrote: their texts name users,
// hosts and rows.
func blame(err error) (replica.Reason, string) {
	var answer *driverpkg.MySQLError
	var network net.Error
	var told *heartbeat.Failure
	switch {
	case errors.As(err, &told):
		return told.Reason, told.Detail
	case errors.Is(err, errPassword):
		return replica.ReasonMisconfigured, errPassword.Error()
	case errors.As(err, &answer):
		if right := lacks(answer); right != "" {
			return replica.ReasonPrivilege, fmt.Sprintf("the account lacks the privilege %s (error %d)", right, answer.Number)
		}
		reason := reasonOf(answer.Number)
		if reason == replica.ReasonAuth {
			return reason, fmt.Sprintf("the server does not let the account in: name, password or what it asks of them (error %d)", answer.Number)
		}
		return reason, fmt.Sprintf("the server answered with error %d", answer.Number)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &network) && network.Timeout():
		return replica.ReasonTimeout, "the server did not answer in time"
	case errors.As(err, &network), errors.Is(err, driver.ErrBadConn), errors.Is(err, driverpkg.ErrInvalidConn),
		errors.Is(err, context.Canceled):
		return replica.ReasonConnect, "the server cannot be reached"
	}
	return replica.ReasonQuery, "the server's answer could not be read"
}

// lacks is the privilege whose lack the server names, empty when it does not. Of its text only that is taken: it names users too.
func lacks(answer *driverpkg.MySQLError) string {
	var right string
	switch answer.Number {
	case 1142: // SELECT command denied to user ... for table 'x', or for table `database`.`x`
		command, rest, ok := strings.Cut(answer.Message, " command denied to user ")
		_, table, named := strings.Cut(rest, " for table ")
		if ok && named {
			table = strings.NewReplacer("'", "", "`", "").Replace(table)
			command = strings.Replace(command, "SELECT with locking clause", "UPDATE", 1) // what it takes in MySQL
			right = command + " on " + table[strings.LastIndexByte(table, '.')+1:]
		}
	case 1227: // you need (at least one of) the x privilege(s) for this operation
		_, rest, _ := strings.Cut(answer.Message, "(at least one of) the ")
		right, _, _ = strings.Cut(rest, " privilege(s)")
	}
	odd := func(r rune) bool {
		return r != ' ' && r != ',' && r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}
	if len(right) > 100 || strings.ContainsFunc(right, odd) {
		return ""
	}
	return right
}

// reasonOf sorts the error numbers of both flavors.
func reasonOf(number uint16) replica.Reason {
	switch number {
	case 1045, 1698, 1862, 3118, 3159, 4151, 1251, 1820: // denied, password expired, account locked, TLS or plugin required
		return replica.ReasonAuth
	case 1044, 1142, 1143, 1227, 1370, 1401:
		return replica.ReasonPrivilege
	case 1969, 3024, 1205: // a limit of time
		return replica.ReasonTimeout
	case 1040, 1053, 1130, 1203, 1226, 1129, 1152, 1927: // too many connections, shutting down, host not allowed, killed
		return replica.ReasonConnect
	case 1049, 1146: // no such database or table
		return replica.ReasonMisconfigured
	}
	return replica.ReasonQuery
}
