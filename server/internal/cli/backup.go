package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/server/internal/cli/client"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

func backupCommand(o Options) *cobra.Command {
	var out string
	var force bool
	cmd := newCommand(o, "backup --out FILE", "Write the ledger to a file; there is a whole one under that name, or none", cobra.NoArgs,
		func(ctx context.Context, s *session, _ []string) error { return s.backup(ctx, out, force) })
	cmd.Flags().StringVar(&out, "out", "", "file to write to, readable by its owner only; it holds the hashes of all tokens")
	cmd.Flags().BoolVar(&force, "force", false, "replace the file of --out")
	return lasting(cmd, 10*time.Minute)
}

func (s *session) backup(ctx context.Context, out string, force bool) error {
	if out == "" || out == "-" {
		return &core.Error{Code: core.CodeInvalid, Message: "a backup needs a file", Hint: "name it with --out"}
	}
	c, err := s.admin()
	if err != nil {
		return err
	}
	file, err := openSecret(out, force)
	if err != nil {
		return err
	}
	if err := s.download(ctx, c, file); err != nil {
		return errors.Join(err, file.drop())
	}
	if err := file.keep(); err != nil {
		return &core.Error{Code: core.CodeInternal, Message: "the backup could not be written to " + out, Err: err}
	}
	if st, err := c.GetStatusWithResponse(ctx); err == nil && st.JSON200 != nil && st.JSON200.Leadership != nil && !st.JSON200.Leadership.Quorum {
		_, _ = fmt.Fprintln(s.Err, "warning: this replica has no quorum, and may not know what others have recorded since it lost it; take another backup when the quorum is back")
	}
	return s.print(map[string]any{"file": out, "bytes": file.size}, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "backup of %d bytes is in %s\n", file.size, out)
	})
}

// download writes the backup as it comes: the generated call would keep all of it in memory.
func (s *session) download(ctx context.Context, c *client.ClientWithResponses, file *secretFile) error {
	res, err := c.GetBackup(ctx)
	if err != nil {
		return ask[*client.GetBackupResponse](s, http.StatusOK, nil, nil, err)
	}
	if res.StatusCode != http.StatusOK {
		parsed, err := client.ParseGetBackupResponse(res)
		return ask(s, http.StatusOK, func(r *client.GetBackupResponse) *client.Problem {
			return r.ApplicationProblemJSONDefault
		}, parsed, err)
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	if kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); err != nil || kind != "application/octet-stream" {
		return s.strange()
	}
	_, err = io.Copy(file, res.Body)
	if err == nil && file.size == 0 {
		err = errors.New("it is empty")
	}
	if err != nil {
		return &core.Error{
			Code: core.CodeUnavailable, Err: err, Hint: "try again, or name another replica with --server",
			Message: fmt.Sprintf("the backup broke off after %d bytes, and %s was not written", file.size, file.path),
		}
	}
	return nil
}
