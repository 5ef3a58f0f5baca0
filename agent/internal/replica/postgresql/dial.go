package postgresql

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// dialer opens connections. It alone holds the password, and it prints nothing.
type dialer struct {
	config       *pgx.ConnConfig
	passwordFile string
}

// newDialer reads a connection string. Its error does not quote it.
func newDialer(dsn, passwordFile string, timeout time.Duration, readOnly bool) (dialer, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return dialer{}, errors.New("the connection string cannot be read: want a postgres:// URL or keywords and values as libpq reads them")
	}
	// No statement is kept prepared: a pooler may be between, and the server may be upgraded.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	config.RuntimeParams["application_name"] = "evenkeel"
	config.RuntimeParams["search_path"] = "pg_catalog"
	config.RuntimeParams["statement_timeout"] = strconv.FormatInt(timeout.Milliseconds(), 10)
	config.RuntimeParams["lock_timeout"] = strconv.FormatInt(timeout.Milliseconds(), 10)
	if readOnly {
		config.RuntimeParams["default_transaction_read_only"] = "on"
	}
	return dialer{config, passwordFile}, nil
}

func (d dialer) String() string   { return "postgresql" }
func (d dialer) GoString() string { return "postgresql" }

func (d dialer) connect(ctx context.Context) (*pgx.Conn, error) {
	config := d.config.Copy()
	if d.passwordFile != "" {
		var err error
		if config.Password, err = password(d.passwordFile); err != nil {
			return nil, err
		}
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errConnect, err)
	}
	return conn, nil
}

// hangUp closes a connection, also after ctx has ended, without waiting for a server that does not answer.
func hangUp(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 200*time.Millisecond)
	defer cancel()
	if err := conn.Close(ctx); err != nil {
		return // the connection is gone either way
	}
}
