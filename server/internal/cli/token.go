package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/server/internal/cli/client"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

func tokenCommand(o Options) *cobra.Command {
	return group("token", "Make, list and revoke tokens", tokenCreateCommand(o), tokenListCommand(o), tokenRevokeCommand(o))
}

// tokenFlags are the settings of token create.
type tokenFlags struct {
	kind, name, out string
	lasts           time.Duration
	force           bool
}

func tokenCreateCommand(o Options) *cobra.Command {
	var f tokenFlags
	cmd := newCommand(o, "create --kind site|edge|admin --name NAME [--out FILE]",
		"Make a token; its text is shown or written once and never again", cobra.NoArgs,
		func(ctx context.Context, s *session, _ []string) error { return s.createToken(ctx, f) })
	flags := cmd.Flags()
	flags.StringVar(&f.kind, "kind", "", "site, edge or admin")
	flags.StringVar(&f.name, "name", "", "the configured site or witness, the edge or the person")
	flags.StringVar(&f.out, "out", "", "file to write the token to, readable by its owner only; - or empty: print it")
	flags.DurationVar(&f.lasts, "expires", 0, "how long it is valid; 0: until it is revoked")
	flags.BoolVar(&f.force, "force", false, "replace the file of --out")
	return cmd
}

func (s *session) createToken(ctx context.Context, f tokenFlags) error {
	if f.kind == "" || f.name == "" {
		return &core.Error{
			Code: core.CodeInvalid, Message: "a token needs a kind and a name", Hint: "as in --kind site --name fra",
		}
	}
	req := client.TokenRequest{Kind: client.TokenRequestKind(f.kind), Name: f.name}
	if f.lasts != 0 {
		at := time.Now().Add(f.lasts).UTC()
		req.ExpiresAt = &at
	}
	c, err := s.admin()
	if err != nil {
		return err
	}
	// The file comes first: a token that cannot be written down would be valid and lost.
	file, err := openSecret(f.out, f.force)
	if err != nil {
		return err
	}
	res, err := c.CreateTokenWithResponse(ctx, req)
	if err := ask(s, http.StatusCreated, func(r *client.CreateTokenResponse) *client.Problem {
		return r.ApplicationProblemJSONDefault
	}, res, err); err != nil {
		return errors.Join(err, file.drop())
	}
	if res.JSON201 == nil {
		return errors.Join(s.strange(), file.drop())
	}
	made := *res.JSON201
	if file == nil {
		return s.print(made, func(w io.Writer) { _, _ = fmt.Fprintln(w, made.Token) })
	}
	if err := file.keepText(made.Token + "\n"); err != nil {
		return &core.Error{
			Code: core.CodeInternal, Message: "the token was made but could not be written to " + f.out, Err: err,
			Hint: "revoke it with: evenkeel-server token revoke " + made.Credential.ID,
		}
	}
	return s.print(made.Credential, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "token %s of %s %s is in %s\n", made.Credential.ID, made.Credential.Kind, made.Credential.Name, f.out)
	})
}

func tokenListCommand(o Options) *cobra.Command {
	return newCommand(o, "list", "List the tokens; their text is not kept", cobra.NoArgs,
		func(ctx context.Context, s *session, _ []string) error {
			c, err := s.admin()
			if err != nil {
				return err
			}
			res, err := c.ListTokensWithResponse(ctx)
			if err := ask(s, http.StatusOK, func(r *client.ListTokensResponse) *client.Problem {
				return r.ApplicationProblemJSONDefault
			}, res, err); err != nil {
				return err
			}
			if res.JSON200 == nil {
				return s.strange()
			}
			return s.print(*res.JSON200, func(w io.Writer) {
				rows := [][]string{{"ID", "KIND", "NAME", "CREATED", "EXPIRES"}}
				for _, t := range *res.JSON200 {
					expires := "never"
					if t.ExpiresAt != nil {
						expires = clock(*t.ExpiresAt)
					}
					rows = append(rows, []string{t.ID, t.Kind, t.Name, clock(t.CreatedAt), expires})
				}
				columns(w, rows...)
			})
		})
}

func tokenRevokeCommand(o Options) *cobra.Command {
	return newCommand(o, "revoke ID", "Make a token worthless at once", cobra.ExactArgs(1),
		func(ctx context.Context, s *session, args []string) error {
			c, err := s.admin()
			if err != nil {
				return err
			}
			res, err := c.RevokeTokenWithResponse(ctx, args[0])
			if err := ask(s, http.StatusNoContent, func(r *client.RevokeTokenResponse) *client.Problem {
				return r.ApplicationProblemJSONDefault
			}, res, err); err != nil {
				return err
			}
			return s.print(map[string]string{"revoked": args[0]}, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "token %s is revoked\n", printable(args[0]))
			})
		})
}
