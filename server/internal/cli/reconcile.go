package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/server/internal/cli/client"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// breakGlassDir is where the break-glass command leaves its records, inside the data directory: one JSON object a file.
const breakGlassDir = "break-glass"

// doneSuffix is put behind the name of a record that the server has.
const doneSuffix = ".done"

const maxRecord = 64 << 10 // bytes

func reconcileCommand(o Options) *cobra.Command {
	return newCommand(o, "reconcile", "Put on record what break-glass commanded past the servers", cobra.NoArgs,
		func(ctx context.Context, s *session, _ []string) error { return s.reconcile(ctx) })
}

// reconciled is what became of one record.
type reconciled struct {
	File     string `json:"file"`
	ID       string `json:"id,omitempty"`
	OK       bool   `json:"ok"`
	Sentence string `json:"sentence"`
}

// reconcile gives the server every record that is left, oldest first, and marks those that it has. A run that was cut
// off is run again: the server knows a record by its id.
func (s *session) reconcile(ctx context.Context) error {
	dir := filepath.Join(s.data, breakGlassDir)
	release, err := claim(dir)
	if err != nil {
		return err
	}
	defer release()
	records, out, err := readRecords(dir)
	if err != nil {
		return err
	}
	if len(records)+len(out) == 0 {
		return s.print([]reconciled{}, func(w io.Writer) {
			_, _ = fmt.Fprintf(w, "nothing to reconcile in %s\nthe records lie where break-glass put them: give the same --data, and --token-file when the token is elsewhere\n", dir)
		})
	}
	var failed error
	if len(records) > 0 {
		var done []reconciled
		done, failed = s.putOnRecord(ctx, records)
		out = append(out, done...)
	}
	if err := s.print(out, func(w io.Writer) {
		for _, r := range out {
			_, _ = fmt.Fprintf(w, "%s: %s\n", filepath.Base(r.File), printable(r.Sentence))
		}
	}); err != nil || failed != nil {
		return errors.Join(err, failed)
	}
	out = slices.DeleteFunc(out, func(r reconciled) bool { return r.OK })
	if len(out) > 0 {
		return &core.Error{
			Code: CodeRefused, Message: fmt.Sprintf("not on record: %d in %s, %s the first", len(out), dir, filepath.Base(out[0].File)),
			Hint: "they stay there; look at what is said of each above",
		}
	}
	return nil
}

// putOnRecord gives the records to the server one by one. It ends at the first that the server cannot judge now.
func (s *session) putOnRecord(ctx context.Context, records []record) (out []reconciled, err error) {
	c, err := s.admin()
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		reply, err := s.post(ctx, c, client.CommandRequest{Kind: core.CommandReconcile, Reason: r.Reason, BreakGlass: &r.BreakGlass})
		switch {
		case err != nil && core.Code(err) != core.CodeInvalid:
			return out, err
		case err != nil:
			reply.Sentence = err.Error()
		case reply.OK:
			if err := os.Rename(r.file, r.file+doneSuffix); err != nil {
				return out, &core.Error{
					Code: core.CodeInternal, Message: r.file + " is on record and could not be renamed", Err: err,
					Hint: "make it so that it can be, then run this again: a record counts once",
				}
			}
		}
		out = append(out, reconciled{File: r.file, ID: r.ID, OK: reply.OK, Sentence: reply.Sentence})
	}
	return out, nil
}

// record is one break-glass command and the file that it is in.
type record struct {
	core.BreakGlass
	file string
}

// readRecords are the records that are left, oldest first, and the files that are none.
func readRecords(dir string) (out []record, bad []reconciled, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, &core.Error{
			Code: core.CodeInvalid, Message: "the records of break-glass cannot be read", Err: err, Hint: "give the data directory with --data, and run this as its owner",
		}
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		file := filepath.Join(dir, e.Name())
		b, err := readRecord(file)
		if err != nil {
			bad = append(bad, reconciled{File: file, Sentence: "this is no record of break-glass: " + err.Error()})
			continue
		}
		out = append(out, record{b, file})
	}
	slices.SortFunc(out, func(a, b record) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID)) })
	return out, bad, nil
}

func readRecord(file string) (b core.BreakGlass, err error) {
	f, err := os.Open(file)
	if err != nil {
		return b, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	if err != nil {
		return b, err
	}
	if len(text) > maxRecord {
		return b, fmt.Errorf("it has more than %d bytes", maxRecord)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		return b, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return b, errors.New("something follows the record")
	}
	return b, nil
}
