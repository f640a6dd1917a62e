package codec

import (
	"slices"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// Token is every field of a token.
func Token(c *Coder, t *domain.RefreshToken) {
	c.Fixed(t.ID[:])
	c.Uint(&t.Sequence)
	c.Text(&t.UserID)
	c.Text(&t.ClientID)
	sessionField(c, &t.SessionID)
	c.Instant(&t.CreatedAt)
	c.Instant(&t.AuthenticatedAt)
	c.Instant(&t.ExpiresAt)
	idle := uint64(t.IdleLifetime) + 1 // Never is -1
	c.Uint(&idle)
	t.IdleLifetime = domain.Lifetime(idle - 1)
	c.Instant(&t.IdleExpiresAt)
	c.Instant(&t.LastExchangedAt)
	for _, text := range []*string{
		&t.Device.InitialIP, &t.Device.InitialASN, &t.Device.InitialUserAgent,
		&t.Device.LastIP, &t.Device.LastASN, &t.Device.LastUserAgent,
		&t.ForeignID, &t.Confirmation.Kind, &t.Confirmation.Value, &t.PepperKeyID,
	} {
		c.Text(text)
	}
	c.Bool(&t.Rotating)
	c.Bool(&t.Offline)
	resourceServersField(c, &t.ResourceServers)
	metadataField(c, &t.Metadata)
	c.Small(&t.Generation)
	c.Instant(&t.RotatedAt)
	c.Small(&t.Retries)
	c.Fixed(t.Salt[:])
	c.Fixed(t.FamilyDigest[:])
	c.Fixed(t.SecretDigest[:])
	foreignFields(c, t)
}

func sessionField(c *Coder, s *domain.SessionID) {
	text, _ := s.Get()
	c.Text(&text)
	if c.reading && text != "" {
		var err error
		*s, err = domain.NewSessionID(text)
		c.Check(err)
	}
}

func resourceServersField(c *Coder, r *domain.ResourceServers) {
	var servers []domain.ResourceServer
	if !c.reading {
		servers = slices.Collect(r.All())
	}
	list(c, &servers, func(c *Coder, rs *domain.ResourceServer) {
		c.Text(&rs.Audience)
		c.Text(&rs.Scopes)
	})
	if c.reading {
		var err error
		*r, err = domain.NewResourceServers(servers...)
		c.Check(err)
	}
}

func metadataField(c *Coder, m *domain.Metadata) {
	n := c.Size(m.Len())
	if !c.reading {
		for key, value := range m.All() {
			c.Text(&key)
			c.Text(&value)
		}
		return
	}
	if n == 0 {
		return
	}
	entries := map[string]string{}
	for i := 0; i < n && c.err == nil; i++ {
		var key, value string
		c.Text(&key)
		c.Text(&value)
		entries[key] = value
	}
	if c.err == nil {
		var err error
		*m, err = domain.NewMetadata(entries)
		c.Check(err)
	}
}

// Target is a target, valid when it is read.
func Target(c *Coder, t *domain.Target) {
	c.Fixed(t.TokenID[:])
	c.Text(&t.UserID)
	c.Text(&t.ClientID)
	c.Text(&t.SessionID)
	c.Text(&t.Audience)
	c.Instant(&t.IssuedBefore)
	c.Instant(&t.LegacyBefore)
	offline := uint32(t.Offline)
	c.Small(&offline)
	t.Offline = domain.Offline(offline)
	c.Bool(&t.Everything)
	if c.reading {
		c.Check(t.Validate())
	}
}

// foreignFields are 0 for no foreign secret, else 1, or 2 for a weak one, and its digest.
func foreignFields(c *Coder, t *domain.RefreshToken) {
	var kind uint64
	switch {
	case t.ForeignWeak:
		kind = 2
	case t.ForeignDigest != domain.Digest{}:
		kind = 1
	}
	c.Uint(&kind)
	if kind > 2 {
		c.Fail("has a foreign secret that is neither weak nor not")
	}
	t.ForeignWeak = kind == 2
	if kind > 0 {
		c.Fixed(t.ForeignDigest[:])
	}
}

// Targets is a list of targets.
func Targets(c *Coder, targets *[]domain.Target) { list(c, targets, Target) }

// Status is a revocation and how far its sweep has come, but for whether it erases.
func Status(c *Coder, s *store.Status) {
	t := &s.Tombstone
	c.Fixed(t.ID[:])
	Targets(c, &t.Targets)
	c.Uint(&t.Watermark)
	c.Instant(&t.Time)
	c.Instant(&t.Through)
	c.Text(&t.Reason)
	c.Text(&t.Actor)
	c.Bool(&s.Retired)
	c.Instant(&s.RetiredAt)
	c.Uint(&s.Examined)
	c.Uint(&s.Swept)
	c.Fixed(s.SupersededBy[:])
}

// Guard is what is remembered of a target.
func Guard(c *Coder, g *domain.Guard) {
	Target(c, &g.Target)
	c.Uint(&g.Watermark)
	c.Instant(&g.Time)
	c.Instant(&g.Through)
}

// Event is an event of the feed.
func Event(c *Coder, e *store.Event) {
	c.Uint(&e.Number)
	kind := uint64(e.Kind)
	c.Uint(&kind)
	e.Kind = store.Kinds(kind)
	if c.reading && uint64(e.Kind) != kind {
		c.Fail("is an event of no kind")
	}
	c.Instant(&e.Time)
	c.Uint(&e.Sequence)
	c.Fixed(e.Revocation[:])
	list(c, &e.Tokens, func(c *Coder, t *store.EventToken) {
		c.Fixed(t.ID[:])
		c.Text(&t.UserID)
		c.Text(&t.ClientID)
		c.Text(&t.SessionID)
	})
	Targets(c, &e.Targets)
	c.Text(&e.Reason)
	c.Text(&e.Actor)
	c.Bool(&e.Erases)
	c.Uint(&e.Count)
	c.Bool(&e.Retired)
}

// Restored is the record of a restoration.
func Restored(c *Coder, r *store.Restored) {
	c.Fixed(r.ID[:])
	c.Instant(&r.Time)
	c.Text((*string)(&r.Method))
	c.Text(&r.Reason)
	c.Text(&r.Actor)
	c.Uint(&r.Sequence)
	c.Uint(&r.LastEvent)
	c.Uint(&r.Epoch)
	c.Bool(&r.Complete)
}

// Restorations is a list of such records.
func Restorations(c *Coder, all *[]store.Restored) { list(c, all, Restored) }
