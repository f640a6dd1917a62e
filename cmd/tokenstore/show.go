package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/revocation"
	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"
)

func newShowCommand() *cobra.Command {
	var f operatorFlags
	cmd := &cobra.Command{
		Use:   "show --db FILE|URL ID",
		Short: "Show a token, and what revokes it",
		Long: "show prints the record of a token, without anything that is made of its secret, and the pending revocations that cover it.\n" +
			"The exit code is 5 for a token that is not there (any more), and for a tenant that is none.",
		Example: `  tokenstore show --db tokens.db 01HPWVYJZ808DT7EJB5DEGYF84
  tokenstore show --db tokens.db --output json 01HPWVYJZ808DT7EJB5DEGYF84`,
		Args: oneID,
	}
	f.register(cmd.Flags(), formTable)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := f.check(); err != nil {
			return err
		}
		id, err := parseID("show", args[0])
		if err != nil {
			return err
		}
		return f.withKnown(cmd.Context(), revocation.Options{}, func(m *tokenstore.Manager) error {
			return f.show(cmd.Context(), m, id, cmd.OutOrStdout())
		})
	}
	return cmd
}

// oneID repeats nothing: what stands there may be a secret.
func oneID(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage("%s takes one id", cmd.Name())
	}
	return nil
}

// parseID reads an id, of a token or a revocation, in upper or lower case.
func parseID(what, text string) (ulid.ULID, error) {
	id, ok := domain.ParseID(strings.ToUpper(text))
	if !ok {
		return id, usage("%s: an id is 26 characters, such as 01HPWVYJZ808DT7EJB5DEGYF84", what)
	}
	return id, nil
}

// shown is a token as show prints it: nothing of it is a digest, or leads to the secret.
type shown struct {
	Token           tokenstore.RefreshToken `json:"token"`
	Sequence        uint64                  `json:"sequence,string"`
	Generation      uint32                  `json:"generation"`
	Retries         uint32                  `json:"retries"`
	AuthenticatedAt time.Time               `json:"authenticated_at,omitzero"`
	RotatedAt       time.Time               `json:"rotated_at,omitzero"`
	Confirmation    string                  `json:"confirmation_kind,omitempty"`
	PepperKeyID     string                  `json:"pepper_key_id,omitempty"`
	ForeignSecret   bool                    `json:"foreign_secret"`
	RevokedBy       []revocationRecord      `json:"revoked_by"`
}

func (f *operatorFlags) show(ctx context.Context, m *tokenstore.Manager, id ulid.ULID, out io.Writer) error {
	token, err := m.Get(ctx, id, tokenstore.Eventual)
	switch {
	case errors.Is(err, tokenstore.ErrNotFound):
		return exitError{exitNotFound, fmt.Errorf("there is no token %s: it has never been there, or it is revoked or expired, and swept", id)}
	case err != nil:
		return err
	}
	s := shown{
		Token: token, Sequence: token.Sequence, Generation: token.Generation, Retries: token.Retries, AuthenticatedAt: token.AuthenticatedAt.UTC(),
		RotatedAt: token.RotatedAt.UTC(), Confirmation: token.Confirmation.Kind, PepperKeyID: token.PepperKeyID,
		ForeignSecret: token.ForeignDigest != (tokenstore.Digest{}), RevokedBy: []revocationRecord{},
	}
	for status, err := range revocations(ctx, m, false) {
		if err != nil {
			return err
		}
		if status.Tombstone.Covers(&token) {
			s.RevokedBy = append(s.RevokedBy, newRevocationRecord(&status))
		}
	}
	return f.output.printOne(out, s, s.columns())
}

func (s *shown) columns() columns {
	t := &s.Token
	session, _ := t.SessionID.Get()
	var audiences []string
	for server := range t.ResourceServers.All() {
		audiences = append(audiences, server.Audience)
	}
	all := columns{
		{"id", t.ID.String()}, {"foreign id", t.ForeignID}, {"user", t.UserID}, {"client", t.ClientID}, {"session", session},
		{"audiences", strings.Join(audiences, " ")}, {"created", instant(t.CreatedAt)}, {"authenticated", instant(s.AuthenticatedAt)},
		{"expires", instant(t.ExpiresAt)}, {"idle until", instant(t.IdleExpiresAt)}, {"last exchanged", instant(t.LastExchangedAt)},
		{"rotating", strconv.FormatBool(t.Rotating)}, {"offline", strconv.FormatBool(t.Offline)}, {"generation", fmt.Sprint(s.Generation)},
		{"rotated", instant(s.RotatedAt)}, {"retries", fmt.Sprint(s.Retries)}, {"confirmation", s.Confirmation}, {"pepper key", s.PepperKeyID},
		{"foreign secret", strconv.FormatBool(s.ForeignSecret)}, {"sequence", fmt.Sprint(s.Sequence)},
	}
	for key, value := range t.Metadata.All() {
		all = append(all, [2]string{"metadata " + cell(key), value})
	}
	for _, r := range s.RevokedBy {
		all = append(all, [2]string{"revoked by", r.ID.String() + " of " + instant(r.CreatedAt) + ": " + describe(r.Targets)})
	}
	if len(s.RevokedBy) == 0 {
		all = append(all, [2]string{"revoked by", ""})
	}
	return all
}
