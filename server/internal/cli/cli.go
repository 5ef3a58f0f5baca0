package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/server/internal/cli/client"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Options are what the commands work with.
type Options struct {
	Out  io.Writer    // answers
	Err  io.Writer    // warnings, and questions to the operator
	In   io.Reader    // what the operator types; nil: the standard input where it is a terminal, else nobody is asked
	HTTP *http.Client // nil: one that takes no proxy
}

// Exit codes.
const (
	exitOther       = 1 // a mistake of the server, or of the machine
	exitInvalid     = 2 // a mistake in the command
	exitRefused     = 3 // the order was judged and not taken
	exitForbidden   = 4 // no valid admin token
	exitUnavailable = 5 // the server does not answer, or cannot now
)

// CodeRefused is the code of an order that was judged and not taken.
const CodeRefused = "refused"

// ExitCode is the exit code of the process for the error of a command; 0 for none.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	switch core.Code(err) {
	case core.CodeInvalid, core.CodeNotFound:
		return exitInvalid
	case CodeRefused, core.CodeConflict, core.CodeTooLarge:
		return exitRefused
	case core.CodeUnauthorized, core.CodeForbidden:
		return exitForbidden
	case core.CodeUnavailable, string(client.ProblemCodeTooManyRequests):
		return exitUnavailable
	}
	return exitOther
}

// Commands are the operator commands, to be added to a root command.
func Commands(o Options) []*cobra.Command {
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Err == nil {
		o.Err = io.Discard
	}
	return []*cobra.Command{
		statusCommand(o), tokenCommand(o), drainCommand(o), restoreCommand(o), approveCommand(o), vetoCommand(o),
		holdCommand(o), brakeCommand(o), linksCommand(o), replicaCommand(o), backupCommand(o), preflightCommand(o), adoptCommand(o),
		reconcileCommand(o), changeCommand(o), feedbackCommand(o),
	}
}

// session is one command's way to the server.
type session struct {
	Options
	server    string // as given; see servers
	servers   *servers
	tokenFile string
	data      string
	output    string
	timeout   time.Duration
}

// newCommand makes a command with the flags that all of them have.
func newCommand(o Options, use, short string, args cobra.PositionalArgs, run func(context.Context, *session, []string) error) *cobra.Command {
	s := &session{Options: o}
	cmd := &cobra.Command{
		Use: use, Short: short, SilenceUsage: true, SilenceErrors: true,
		Args: func(cmd *cobra.Command, given []string) error {
			if err := args(cmd, given); err != nil {
				return usage(cmd, err)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, given []string) error {
			if s.output != "table" && s.output != "json" {
				return &core.Error{
					Code: core.CodeInvalid, Message: fmt.Sprintf("there is no output %q", s.output), Hint: "use table or json",
				}
			}
			urls, err := parseServers(s.server)
			if err != nil {
				return err
			}
			s.servers = &servers{urls: urls, timeout: s.timeout, next: s.doer(), warn: s.Err}
			return run(cmd.Context(), s, given)
		},
	}
	cmd.SetFlagErrorFunc(usage)
	f := cmd.Flags()
	f.StringVar(&s.server, "server", "http://127.0.0.1:8450", "URL of the server; of several with commas between, the next is asked when one does not answer")
	f.StringVar(&s.data, "data", "./data", "data directory of the server, where admin.token is")
	f.StringVar(&s.tokenFile, "token-file", "", "file with the admin token (default: admin.token in --data)")
	f.StringVar(&s.output, "output", "table", "table or json")
	f.DurationVar(&s.timeout, "timeout", 15*time.Second, "how long to wait for an answer")
	return cmd
}

// lasting gives a command that takes longer than others more time by default.
func lasting(cmd *cobra.Command, timeout time.Duration) *cobra.Command {
	f := cmd.Flags().Lookup("timeout")
	f.DefValue = timeout.String()
	_ = f.Value.Set(f.DefValue) // it is a duration
	return cmd
}

// group is a command that only has commands under it.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, SilenceUsage: true, SilenceErrors: true,
		// The flags of a command that does not exist are not what is wrong with it.
		FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true},
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.NoArgs(cmd, args); err != nil {
				return usage(cmd, err)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(commands...)
	return cmd
}

func usage(cmd *cobra.Command, err error) error {
	return &core.Error{
		Code: core.CodeInvalid, Message: err.Error(), Hint: "as in: " + cmd.UseLine() + "; --help says more",
	}
}

// client is the way to the server without a token: for reading.
func (s *session) client(with ...client.ClientOption) (*client.ClientWithResponses, error) {
	return client.NewClientWithResponses(apiBase, append(with, client.WithHTTPClient(s.servers))...)
}

func (s *session) doer() client.HttpRequestDoer {
	if s.HTTP != nil {
		return s.HTTP
	}
	// A connection of its own, so that nothing is left open behind a command.
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
}

// admin is the way to the server with the admin token.
func (s *session) admin() (*client.ClientWithResponses, error) {
	path := s.tokenFile
	if path == "" {
		path = filepath.Join(s.data, "admin.token")
	}
	text, err := os.ReadFile(path)
	token := core.Secret(strings.TrimSpace(string(text)))
	if err == nil && token == "" {
		err = errors.New("the file is empty")
	}
	if err != nil {
		return nil, &core.Error{
			Code: core.CodeUnauthorized, Message: "the admin token cannot be read", Err: err,
			Hint: "give its file with --token-file, or the server's data directory with --data",
		}
	}
	if slices.ContainsFunc(s.servers.urls, func(u *url.URL) bool { return u.Scheme == "http" && !local(u.Hostname()) }) {
		_, _ = fmt.Fprintln(s.Err, "warning: the admin token goes over the network in the clear; use https or a tunnel")
	}
	return s.client(client.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+token.Reveal())
		return nil
	}))
}

func local(host string) bool {
	return host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.")
}

// answer is what every response of the client is.
type answer interface {
	StatusCode() int
	Status() string
}

// newOrKnown is the status that a call is to have which makes something, or finds that it is there already.
func newOrKnown[R interface {
	comparable
	answer
}](res R) int {
	var none R
	if res != none && res.StatusCode() == http.StatusOK {
		return http.StatusOK
	}
	return http.StatusCreated
}

// timeOf is the time that a flag gives.
func timeOf(flag, text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, &core.Error{Code: core.CodeInvalid, Message: fmt.Sprintf("%s %q is no time", flag, text), Hint: "write it like 2026-11-27T10:00:00Z"}
	}
	return at, nil
}

// ask turns the three ways in which a call can fail into one error.
func ask[R answer](s *session, want int, problemOf func(R) *client.Problem, res R, err error) error {
	if err != nil {
		if lost, ok := errors.AsType[*unanswered](err); ok {
			return &core.Error{
				Code: core.CodeUnavailable, Message: "it is not known whether " + s.servers.String() + " took the order: no answer came", Err: lost.err,
				Hint: "look at evenkeel-server status and at the timeline before you give it again",
			}
		}
		if errors.Is(err, context.Canceled) {
			return err
		}
		message := "the server at " + s.servers.String() + " does not answer"
		if len(s.servers.urls) > 1 && !s.servers.answered {
			message = "none of the servers answers: " + s.servers.String()
		}
		return &core.Error{
			Code: core.CodeUnavailable, Message: message, Err: err,
			Hint: "start it with: evenkeel-server serve; or name another one with --server",
		}
	}
	if res.StatusCode() == want {
		return nil
	}
	problem := problemOf(res)
	if problem == nil {
		return &core.Error{
			Code: core.CodeInternal, Message: fmt.Sprintf("%s answers %s, which is not Evenkeel's way", s.servers, res.Status()),
			Hint: "see whether --server is the address of an Evenkeel server",
		}
	}
	e := &core.Error{Code: string(problem.Code), Message: problem.Title}
	if problem.Detail != nil {
		e.Message = *problem.Detail
	}
	if problem.Hint != nil {
		e.Hint = *problem.Hint
	}
	return e
}

// strange is the error of an answer that says OK and is none of ours.
func (s *session) strange() error {
	return &core.Error{
		Code: core.CodeInternal, Message: s.servers.String() + " does not answer in Evenkeel's way",
		Hint: "see whether --server is the address of an Evenkeel server",
	}
}

// print writes v as JSON, or what table writes.
func (s *session) print(v any, table func(w io.Writer)) error {
	if s.output == "json" {
		e := json.NewEncoder(s.Out)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	var b strings.Builder
	table(&b)
	_, err := io.WriteString(s.Out, b.String())
	return err
}

// columns writes rows under a heading, as wide as they need to be.
func columns(w io.Writer, rows ...[]string) {
	width := map[int]int{}
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", width[i]-len([]rune(cell))+2))
			}
		}
		_, _ = fmt.Fprintln(w, printable(strings.TrimRight(line.String(), " ")))
	}
}

// printable takes the control characters, and those that turn its direction, out of a text that came from elsewhere.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, s)
}
