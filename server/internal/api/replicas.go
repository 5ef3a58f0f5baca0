package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Control is what keeps the ledger alive and says who speaks for it. Errors are *core.Error.
type Control interface {
	Leadership() core.Leadership // must not block
	// Members are the configured replicas in their order, then strangers; none for a server that is alone.
	Members(ctx context.Context) ([]core.Member, error)
	// AddReplica returns the JSON text of the bundle that the new replica starts with. It holds a private key.
	AddReplica(ctx context.Context, name string, replace bool) (bundle []byte, err error)
	RemoveReplica(ctx context.Context, name string) error
	// Backup streams the ledger to w; what was written before an error is no backup.
	Backup(ctx context.Context, w io.Writer) error
	// Preflight asks the executors as the ledger of a cluster would; an empty clusterID is the present one.
	Preflight(ctx context.Context, clusterID string) ([]core.Preflight, error)
	// Adopt raises the epoch: to the next one for epoch 0, of the present cluster for an empty clusterID. The text of
	// the token signs the record.
	Adopt(ctx context.Context, clusterID string, epoch int64, by, reason string, token core.Secret) (core.Identity, error)
}

// control is Options.Control, or an error when there is none.
func (s *server) control() (Control, error) {
	if s.Control == nil {
		return nil, &core.Error{
			Code: core.CodeNotFound, Message: "this server has nothing of that kind", Hint: "see /api/v1/openapi.yaml",
		}
	}
	return s.Control, nil
}

// ListReplicas answers GET /replicas.
func (s *server) ListReplicas(ctx context.Context, _ ListReplicasRequestObject) (ListReplicasResponseObject, error) {
	c, err := s.control()
	if err != nil {
		return nil, err
	}
	members, err := c.Members(ctx)
	return ListReplicas200JSONResponse{
		Leadership: c.Leadership(), Members: whole(members, wholeMember), At: time.Now().UTC(),
	}, err
}

// AddReplica answers POST /replicas.
func (s *server) AddReplica(ctx context.Context, r AddReplicaRequestObject) (AddReplicaResponseObject, error) {
	c, err := s.control()
	if err != nil {
		return nil, err
	}
	name, replace := r.Body.Name, r.Body.Replace != nil && *r.Body.Replace
	if err := checkName(name); err != nil {
		return nil, err
	}
	bundle, err := c.AddReplica(ctx, name, replace)
	if err != nil {
		return nil, err
	}
	s.Log.LogAttrs(ctx, slog.LevelInfo, "replica taken in", slog.String("replica", name), slog.Bool("replace", replace),
		slog.String("by", operator(ctx)))
	return AddReplica201JSONResponse{Bundle: string(bundle)}, nil
}

// RemoveReplica answers DELETE /replicas/{name}.
func (s *server) RemoveReplica(ctx context.Context, r RemoveReplicaRequestObject) (RemoveReplicaResponseObject, error) {
	c, err := s.control()
	if err != nil {
		return nil, err
	}
	if err := checkName(r.Name); err != nil {
		return nil, err
	}
	if err := c.RemoveReplica(ctx, r.Name); err != nil {
		return nil, err
	}
	s.Log.LogAttrs(ctx, slog.LevelInfo, "replica let go", slog.String("replica", r.Name), slog.String("by", operator(ctx)))
	return RemoveReplica204Response{}, nil
}

func checkName(name string) error {
	if name == "" || len(name) > maxName || unprintable(name) {
		return invalid("that is no name of a replica", "give it as in the configuration")
	}
	return nil
}

// GetPreflight answers GET /preflight.
func (s *server) GetPreflight(ctx context.Context, r GetPreflightRequestObject) (GetPreflightResponseObject, error) {
	c, err := s.control()
	if err != nil {
		return nil, err
	}
	if id := r.Params.ClusterID; id != nil {
		if err := core.CheckClusterID(*id); err != nil {
			return nil, err
		}
	}
	found, err := c.Preflight(ctx, deref(r.Params.ClusterID))
	return GetPreflight200JSONResponse(list(found)), err
}

// Adopt answers POST /adopt.
func (s *server) Adopt(ctx context.Context, r AdoptRequestObject) (AdoptResponseObject, error) {
	c, err := s.control()
	if err != nil {
		return nil, err
	}
	var epoch int64
	if r.Body.Epoch != nil {
		if epoch = *r.Body.Epoch; epoch < 1 {
			return nil, invalid("an epoch counts from 1", "give a higher one than the present, or none for the next")
		}
	}
	if err := checkReason(r.Body.Reason); err != nil {
		return nil, err
	}
	if id := r.Body.ClusterID; id != nil {
		if err := core.CheckClusterID(*id); err != nil {
			return nil, err
		}
	}
	if unprintable(r.Body.Reason) {
		return nil, errUnprintable()
	}
	who := by(ctx)
	identity, err := c.Adopt(ctx, deref(r.Body.ClusterID), epoch, who.Name, r.Body.Reason, who.token)
	if err != nil {
		return nil, err
	}
	s.Log.LogAttrs(ctx, slog.LevelInfo, "ledger adopted by order", slog.String("cluster_id", identity.ClusterID),
		slog.Int64("epoch", identity.Epoch), slog.String("by", who.Name))
	return Adopt200JSONResponse(identity), nil
}

// GetBackup answers GET /backup.
func (s *server) GetBackup(ctx context.Context, _ GetBackupRequestObject) (GetBackupResponseObject, error) {
	c, err := s.control()
	if err != nil {
		return nil, err
	}
	// The end of an answer over HTTP/1.0 is the end of the connection: nobody could tell it from a break.
	if r, ok := ctx.Value(gin.ContextRequestKey).(*http.Request); ok && !r.ProtoAtLeast(1, 1) {
		return nil, invalid("a backup is not sent over HTTP/1.0, where half of one looks like all of it",
			"ask the server itself, or have the proxy between speak HTTP/1.1 (nginx: proxy_http_version 1.1)")
	}
	return &backup{ctx: ctx, server: s, from: c}, nil
}

// backup is an answer that is written as it is made.
type backup struct {
	ctx    context.Context
	server *server
	from   Control
}

// VisitGetBackupResponse writes the answer. An error before the first byte is returned and becomes a problem; after it, the
// connection is broken off, so that no reader takes what it has for a backup.
func (b *backup) VisitGetBackupResponse(w http.ResponseWriter) error {
	out := &backupWriter{w: w, control: http.NewResponseController(w), server: b.server}
	err := b.from.Backup(b.ctx, out)
	if err == nil && !out.begun {
		err = errors.New("the backup is empty")
	}
	switch {
	case err == nil:
		b.server.Log.LogAttrs(b.ctx, slog.LevelInfo, "backup sent", slog.Int64("bytes", out.bytes), slog.String("by", operator(b.ctx)))
		// A reader that is gone needs no answer. The deadline of the last write must not meet the next request on this
		// connection.
		_ = out.control.Flush()
		_ = out.control.SetWriteDeadline(time.Time{})
		return nil
	case !out.begun:
		return err
	}
	b.server.Log.LogAttrs(b.ctx, slog.LevelWarn, "backup broken off", slog.Int64("bytes", out.bytes), slog.Any("error", err))
	panic(http.ErrAbortHandler) // net/http's way to break an answer off
}

// backupWriter begins the answer with the first byte. A reader that does not take its bytes in time is cut off.
type backupWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	server  *server
	begun   bool
	bytes   int64
}

func (b *backupWriter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if !b.begun {
		b.begun = true
		b.w.Header().Set("Content-Type", "application/octet-stream")
		b.w.Header().Set("Content-Disposition", `attachment; filename="evenkeel.backup"`)
		b.w.WriteHeader(http.StatusOK)
	}
	// A writer without deadlines is one of a test; it does not block.
	_ = b.control.SetWriteDeadline(time.Now().Add(b.server.Patience))
	n, err := b.w.Write(p)
	b.bytes += int64(n)
	return n, err
}
