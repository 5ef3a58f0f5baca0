package postgresql

import (
	"database/sql"
	"time"
)

// standbyRow is what a physical standby tells of itself.
type standbyRow struct {
	Now          time.Time
	InRecovery   bool
	Timeline     sql.Null[int64] // of the primary itself, or of the stream
	ReplayLSN    sql.Null[LSN]
	LastXact     sql.Null[time.Time] // commit time, by the source's clock, of the newest transaction applied
	Paused       sql.Null[bool]
	ApplyDelay   time.Duration // recovery_min_apply_delay
	Archive      bool          // a restore_command is set
	Silence      time.Duration // wal_receiver_timeout; 0: never
	ApplierWaits sql.Null[string]

	// The receiver. All but ReceiverPID are NULL without the privilege to see them.
	ReceiverPID   sql.Null[int64]
	Status        sql.Null[string]
	SlotName      sql.Null[string]
	SenderHost    sql.Null[string]
	LatestEnd     sql.Null[LSN] // the sender's newest position, as it told
	LatestEndTime sql.Null[time.Time]
	MsgSent       sql.Null[time.Time] // by the source's clock
	MsgReceived   sql.Null[time.Time] // by this server's clock
}

// sourceRow is a sending server and one of its peers; without peers there is one row whose PID is NULL.
type sourceRow struct {
	Now        time.Time
	InRecovery bool
	Timeline   sql.Null[int64]
	Newest     sql.Null[LSN] // what this server has to send
	Silence    time.Duration // wal_sender_timeout; 0: never

	// The peer. All but PID are NULL without the privilege to see them.
	PID        sql.Null[int64]
	AppName    sql.Null[string]
	ClientAddr sql.Null[string]
	State      sql.Null[string]
	SyncState  sql.Null[string]
	SentLSN    sql.Null[LSN]
	FlushLSN   sql.Null[LSN]
	ReplayLSN  sql.Null[LSN]
	WriteLag   sql.Null[float64] // seconds
	FlushLag   sql.Null[float64]
	ReplayLag  sql.Null[float64]
	ReplyTime  sql.Null[time.Time] // by the peer's clock; from version 12 on
}

// slotRow is one replication slot.
type slotRow struct {
	Name        string
	Kind        string
	Active      bool
	ActivePID   sql.Null[int64]
	WALStatus   sql.Null[string] // from version 13 on
	SafeSize    sql.Null[int64]  // bytes that may still be written before it is lost; NULL without a limit
	Retained    sql.Null[int64]
	Unconfirmed sql.Null[int64] // logical only
	Invalid     sql.Null[string]
}

// subscriptionRow is one subscription of the database and its apply worker; PID is NULL without a worker.
type subscriptionRow struct {
	Now           time.Time
	ID            int64
	Name          string
	Enabled       bool
	Copying       int64 // tables whose first copy is not finished
	Silence       time.Duration
	Applied       sql.Null[LSN] // NULL without the right to read it
	PID           sql.Null[int64]
	Received      sql.Null[LSN]
	MsgSent       sql.Null[time.Time]
	MsgReceived   sql.Null[time.Time]
	LatestEnd     sql.Null[LSN] // of the newest keepalive
	LatestEndTime sql.Null[time.Time]
	Stats         sql.Null[string] // pg_stat_subscription_stats as a JSON object; from version 15 on
}

// extraRow is what belongs to the server as a whole.
type extraRow struct {
	InDoubt       sql.Null[int64]
	InDoubtOldest sql.Null[float64] // seconds
	Conflicts     sql.Null[string]  // by cause, a JSON object; NULL on a primary
}
