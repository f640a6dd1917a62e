package pgstore

import (
	"encoding/json"
	"maps"
	"time"

	"example.com/tokenstore/domain"
	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"
)

// tokenColumns are the columns of a token, in the order of tokenArgs and of scanToken.
const tokenColumns = `id, sequence, user_id, client_id, session_id, created_at, audiences, scopes, foreign_id, foreign_digest, foreign_weak,
	authenticated_at, expires_at, idle_expires_at, last_exchanged_at, rotated_at, nanoseconds, idle_lifetime,
	rotating, offline, generation, retries, salt, family_digest, secret_digest, pepper_key_id, confirmation_kind, confirmation,
	metadata, initial_ip, initial_asn, initial_user_agent, last_ip, last_asn, last_user_agent`

// fixedArgs are what never changes, and mutableArgs the rest: together, all columns of tokenColumns.
func fixedArgs(t *domain.RefreshToken) []any {
	session, _ := t.SessionID.Get()
	audiences, scopes := resourceArgs(t)
	return []any{
		identity(t.ID), number(t.Sequence), t.UserID, t.ClientID, text(session), instantOf(t.CreatedAt).at, audiences, scopes,
		text(t.ForeignID), octets(t.ForeignDigest[:]), t.ForeignWeak,
	}
}

// resourceArgs are the audiences, and the scopes of each.
func resourceArgs(t *domain.RefreshToken) (audiences, scopes []string) {
	audiences, scopes = make([]string, 0, t.ResourceServers.Len()), make([]string, 0, t.ResourceServers.Len())
	for rs := range t.ResourceServers.All() {
		audiences, scopes = append(audiences, rs.Audience), append(scopes, rs.Scopes)
	}
	return audiences, scopes
}

// metadataArg is the token's metadata as JSON, nil for none.
func metadataArg(t *domain.RefreshToken) ([]byte, error) {
	if t.Metadata.Len() == 0 {
		return nil, nil
	}
	return json.Marshal(t.Metadata)
}

func mutableArgs(t *domain.RefreshToken) ([]any, error) {
	metadata, err := metadataArg(t)
	if err != nil {
		return nil, err
	}
	return []any{
		micro(t.AuthenticatedAt), micro(t.ExpiresAt), micro(t.IdleExpiresAt), micro(t.LastExchangedAt), micro(t.RotatedAt), nanoseconds(t),
		int64(t.IdleLifetime), t.Rotating, t.Offline, int64(t.Generation), int64(t.Retries), octets(t.Salt[:]), octets(t.FamilyDigest[:]), octets(t.SecretDigest[:]),
		text(t.PepperKeyID), text(t.Confirmation.Kind), text(t.Confirmation.Value), metadata,
		text(t.Device.InitialIP), text(t.Device.InitialASN), text(t.Device.InitialUserAgent),
		text(t.Device.LastIP), text(t.Device.LastASN), text(t.Device.LastUserAgent),
	}, nil
}

// fresh reports whether a token has nothing that only a use, or another system, can have left.
func fresh(t *domain.RefreshToken) bool {
	return t.LastExchangedAt.IsZero() && t.RotatedAt.IsZero() && t.Generation == 0 && t.Retries == 0 && t.Salt == domain.Salt{} &&
		t.ForeignID == "" && t.ForeignDigest == domain.Digest{} && !t.ForeignWeak
}

// issueArgs are what a fresh token has, and its id as an anchor.
func issueArgs(t *domain.RefreshToken) ([]any, error) {
	metadata, err := metadataArg(t)
	if err != nil {
		return nil, err
	}
	session, _ := t.SessionID.Get()
	audiences, scopes := resourceArgs(t)
	return []any{
		identity(t.ID), t.UserID, t.ClientID, text(session), instantOf(t.CreatedAt).at, literal(audiences), literal(scopes),
		micro(t.AuthenticatedAt), micro(t.ExpiresAt), micro(t.IdleExpiresAt), nanoseconds(t), int64(t.IdleLifetime), t.Rotating, t.Offline,
		octets(t.FamilyDigest[:]), octets(t.SecretDigest[:]), text(t.PepperKeyID), text(t.Confirmation.Kind), text(t.Confirmation.Value), metadata,
		text(t.Device.InitialIP), text(t.Device.InitialASN), text(t.Device.InitialUserAgent),
		text(t.Device.LastIP), text(t.Device.LastASN), text(t.Device.LastUserAgent), due(t), uuidText(t.ID),
	}, nil
}

// exchanged reports whether nothing of a token that may change has changed but what exchangeArgs has.
func exchanged(from, to *domain.RefreshToken) bool {
	a, b := from.Device, to.Device
	return from.AuthenticatedAt.Equal(to.AuthenticatedAt) && from.ExpiresAt.Equal(to.ExpiresAt) && from.IdleLifetime == to.IdleLifetime &&
		from.Rotating == to.Rotating && from.Offline == to.Offline && from.FamilyDigest == to.FamilyDigest && from.PepperKeyID == to.PepperKeyID &&
		from.Confirmation == to.Confirmation && maps.Equal(maps.Collect(from.Metadata.All()), maps.Collect(to.Metadata.All())) &&
		a.InitialIP == b.InitialIP && a.InitialASN == b.InitialASN && a.InitialUserAgent == b.InitialUserAgent
}

// exchangeArgs are what an exchange changes of a token.
func exchangeArgs(t *domain.RefreshToken) []any {
	return []any{
		micro(t.IdleExpiresAt), micro(t.LastExchangedAt), micro(t.RotatedAt), nanoseconds(t), int64(t.Generation), int64(t.Retries),
		octets(t.Salt[:]), octets(t.SecretDigest[:]), text(t.Device.LastIP), text(t.Device.LastASN), text(t.Device.LastUserAgent), due(t),
	}
}

// micro is a time to the microsecond, null for none.
func micro(t time.Time) optional { return optional(instantOf(t).at) }

// nanoseconds packs what a token's times have below the microsecond.
func nanoseconds(t *domain.RefreshToken) (packed int64) {
	for i, at := range timesOf(t) {
		packed |= int64(at.Nanosecond()%1000) << (10 * i)
	}
	return packed
}

// timesOf are the times of a token, in the order in which their nanoseconds are packed.
func timesOf(t *domain.RefreshToken) [6]*time.Time {
	return [6]*time.Time{&t.CreatedAt, &t.AuthenticatedAt, &t.ExpiresAt, &t.IdleExpiresAt, &t.LastExchangedAt, &t.RotatedAt}
}

// due is when to look whether the token is expired, null for never.
func due(t *domain.RefreshToken) optional {
	deadline := t.Deadline()
	if deadline.IsZero() {
		return optional{}
	}
	return optional(deadline.UTC().Add(time.Microsecond - 1).Truncate(time.Microsecond))
}

// tokenRow is what of a row does not fit into a token as it is. All of it is one piece of memory, for a row has many columns.
type tokenRow struct {
	session, foreignID, pepper, kind, value, initialIP, initialASN, initialAgent, lastIP, lastASN, lastAgent text
	audiences, scopes                                                                                        []string
	packed, idle, generation, retries                                                                        int64
	foreignDigest, salt, familyDigest, secretDigest                                                          octets
	metadata                                                                                                 []byte
	fields                                                                                                   [40]any // where each column goes, with room for some more
}

// scanToken reads a row of tokenColumns, and what stands after them.
func scanToken(row pgx.Rows, t *domain.RefreshToken, more ...any) error {
	r := tokenRow{foreignDigest: t.ForeignDigest[:], salt: t.Salt[:], familyDigest: t.FamilyDigest[:], secretDigest: t.SecretDigest[:]}
	fields := append(r.fields[:0],
		(*identity)(&t.ID), (*number)(&t.Sequence), &t.UserID, &t.ClientID, &r.session, &t.CreatedAt, &r.audiences, &r.scopes,
		&r.foreignID, &r.foreignDigest, &t.ForeignWeak,
		(*optional)(&t.AuthenticatedAt), (*optional)(&t.ExpiresAt), (*optional)(&t.IdleExpiresAt), (*optional)(&t.LastExchangedAt), (*optional)(&t.RotatedAt), &r.packed,
		&r.idle, &t.Rotating, &t.Offline, &r.generation, &r.retries, &r.salt, &r.familyDigest, &r.secretDigest,
		&r.pepper, &r.kind, &r.value, &r.metadata, &r.initialIP, &r.initialASN, &r.initialAgent, &r.lastIP, &r.lastASN, &r.lastAgent,
	)
	err := row.Scan(append(fields, more...)...)
	if err != nil {
		return err
	}
	for i, at := range timesOf(t) {
		*at = at.UTC().Add(time.Duration(r.packed >> (10 * i) & 1023))
	}
	if r.generation != int64(uint32(r.generation)) || r.retries != int64(uint32(r.retries)) {
		return damaged("a count of generations or retries")
	}
	t.IdleLifetime, t.Generation, t.Retries = domain.Lifetime(r.idle), uint32(r.generation), uint32(r.retries)
	t.ForeignID, t.PepperKeyID = string(r.foreignID), string(r.pepper)
	t.Confirmation = domain.Confirmation{Kind: string(r.kind), Value: string(r.value)}
	t.Device = domain.Device{
		InitialIP: string(r.initialIP), InitialASN: string(r.initialASN), InitialUserAgent: string(r.initialAgent),
		LastIP: string(r.lastIP), LastASN: string(r.lastASN), LastUserAgent: string(r.lastAgent),
	}
	if r.session != "" {
		if t.SessionID, err = domain.NewSessionID(string(r.session)); err != nil {
			return damaged("a session id")
		}
	}
	if t.ResourceServers, err = resourceServers(r.audiences, r.scopes); err != nil {
		return err
	}
	if r.metadata != nil {
		if err := json.Unmarshal(r.metadata, &t.Metadata); err != nil {
			return damaged("metadata")
		}
	}
	return nil
}

func resourceServers(audiences, scopes []string) (domain.ResourceServers, error) {
	if len(audiences) != len(scopes) {
		return domain.ResourceServers{}, damaged("a list of resource servers")
	}
	list := make([]domain.ResourceServer, len(audiences))
	for i := range list {
		list[i] = domain.ResourceServer{Audience: audiences[i], Scopes: scopes[i]}
	}
	servers, err := domain.NewResourceServers(list...)
	if err != nil {
		return domain.ResourceServers{}, damaged("a list of resource servers")
	}
	return servers, nil
}

// coverColumns are as many columns of a token as it takes to tell who covers it, in the order of scanCover.
const coverColumns = `id, sequence, user_id, client_id, session_id, created_at, nanoseconds, audiences, scopes, offline`

func scanCover(row pgx.Rows, t *domain.RefreshToken) error {
	var session text
	var packed int64
	var audiences, scopes []string
	err := row.Scan((*identity)(&t.ID), (*number)(&t.Sequence), &t.UserID, &t.ClientID, &session, &t.CreatedAt, &packed, &audiences, &scopes, &t.Offline)
	if err != nil {
		return err
	}
	t.CreatedAt = t.CreatedAt.UTC().Add(time.Duration(packed & 1023))
	if session != "" {
		if t.SessionID, err = domain.NewSessionID(string(session)); err != nil {
			return damaged("a session id")
		}
	}
	t.ResourceServers, err = resourceServers(audiences, scopes)
	return err
}

// targetColumns are the columns of a target, in the order of targetArgs and of targetRow.
const targetColumns = `token_id, user_id, client_id, session_id, audience, issued_before, issued_before_ns, legacy_before, legacy_before_ns, offline, everything`

func targetArgs(t *domain.Target) []any {
	issued, legacy := instantOf(t.IssuedBefore), instantOf(t.LegacyBefore)
	return []any{
		identity(t.TokenID), text(t.UserID), text(t.ClientID), text(t.SessionID), text(t.Audience),
		optional(issued.at), issued.ns, optional(legacy.at), legacy.ns, int16(t.Offline), t.Everything,
	}
}

// targetRow takes a row of targetColumns.
type targetRow struct {
	token                           identity
	user, client, session, audience text
	issued, legacy                  optional
	issuedNS, legacyNS, offline     int16
	everything                      bool
}

func (r *targetRow) fields() []any {
	return []any{
		&r.token, &r.user, &r.client, &r.session, &r.audience, &r.issued, &r.issuedNS, &r.legacy, &r.legacyNS, &r.offline, &r.everything,
	}
}

func (r *targetRow) target() domain.Target {
	return domain.Target{
		TokenID: ulid.ULID(r.token), UserID: string(r.user), ClientID: string(r.client), SessionID: string(r.session), Audience: string(r.audience),
		IssuedBefore: instant{time.Time(r.issued), r.issuedNS}.time(), LegacyBefore: instant{time.Time(r.legacy), r.legacyNS}.time(),
		Offline: domain.Offline(r.offline), Everything: r.everything,
	}
}
