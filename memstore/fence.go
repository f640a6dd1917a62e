package memstore

import (
	"iter"
	"slices"

	"example.com/tokenstore/domain"
)

// fence is where pending tombstones are found: each stands under the anchors of its targets, by kind and value.
type fence [domain.AnchorNone + 1]map[string]*stand

// stand holds the tombstones under one anchor, by the next constraint of their targets, so that thousands which name the same
// user or client cost a token that they don't name no look at each.
type stand struct {
	plain      []*pendingTombstone
	byClient   map[string][]*pendingTombstone
	byAudience map[string][]*pendingTombstone
}

// at is the stand of an anchor, nil if nothing stands there.
func (f *fence) at(kind domain.AnchorKind, value string) *stand {
	if len(f[kind]) == 0 {
		return nil
	}
	return f[kind][value]
}

// over walks the tombstones that may have a target which matches the token, of anchors up to a kind; some of them twice.
func (f *fence) over(token *domain.RefreshToken, widest domain.AnchorKind) iter.Seq[*pendingTombstone] {
	return func(yield func(*pendingTombstone) bool) {
		if stands := f[domain.AnchorToken]; len(stands) > 0 && !stands[string(token.ID[:])].over(token, yield) {
			return
		}
		session, _ := token.SessionID.Get()
		values := [...]string{domain.AnchorSession: session, domain.AnchorUser: token.UserID, domain.AnchorClient: token.ClientID, domain.AnchorNone: ""}
		for kind := domain.AnchorSession; kind <= widest; kind++ {
			if !f.at(kind, values[kind]).over(token, yield) {
				return
			}
		}
	}
}

// over walks the tombstones of the stand that may have a target which matches the token. It reports whether yield wants more.
func (s *stand) over(token *domain.RefreshToken, yield func(*pendingTombstone) bool) bool {
	if s == nil {
		return true
	}
	for _, p := range s.plain {
		if !yield(p) {
			return false
		}
	}
	for _, p := range s.byClient[token.ClientID] {
		if !yield(p) {
			return false
		}
	}
	if len(s.byAudience) == 0 {
		return true
	}
	for rs := range token.ResourceServers.All() {
		for _, p := range s.byAudience[rs.Audience] {
			if !yield(p) {
				return false
			}
		}
	}
	return true
}

// beside is the list that a target stands in, nil if nothing does.
func (f *fence) beside(target *domain.Target) []*pendingTombstone {
	anchor := target.Anchor()
	s := f.at(anchor.Kind, anchor.Value)
	if s == nil {
		return nil
	}
	var list []*pendingTombstone
	s.edit(target, func(there []*pendingTombstone) []*pendingTombstone {
		list = there
		return there
	})
	return list
}

// edit replaces the list that a target stands in. What has no anchor is counted, and stands in one list.
func (s *stand) edit(target *domain.Target, change func([]*pendingTombstone) []*pendingTombstone) {
	anchor := target.Anchor().Kind
	by, key := &s.byClient, target.ClientID
	switch {
	case anchor == domain.AnchorNone, (key == "" || anchor == domain.AnchorClient) && target.Audience == "":
		s.plain = change(s.plain)
		return
	case key == "" || anchor == domain.AnchorClient:
		by, key = &s.byAudience, target.Audience
	}
	list := change((*by)[key])
	if len(list) == 0 {
		delete(*by, key)
		return
	}
	if *by == nil {
		*by = map[string][]*pendingTombstone{}
	}
	(*by)[key] = list
}

// unanchored is how many tombstones have a target without an anchor.
func (f *fence) unanchored() int {
	if s := f.at(domain.AnchorNone, ""); s != nil {
		return len(s.plain)
	}
	return 0
}

func (s *stand) empty() bool { return len(s.plain)+len(s.byClient)+len(s.byAudience) == 0 }

func (f *fence) putUp(p *pendingTombstone) {
	for i := range p.status.Tombstone.Targets {
		target := &p.status.Tombstone.Targets[i]
		anchor := target.Anchor()
		if f[anchor.Kind] == nil {
			f[anchor.Kind] = map[string]*stand{}
		}
		s := f.at(anchor.Kind, anchor.Value)
		if s == nil {
			s = &stand{}
			f[anchor.Kind][anchor.Value] = s
		}
		s.edit(target, func(list []*pendingTombstone) []*pendingTombstone {
			if len(list) > 0 && list[len(list)-1] == p { // by an earlier one of its targets
				return list
			}
			return append(list, p)
		})
	}
}

func (f *fence) takeDown(p *pendingTombstone) {
	for i := range p.status.Tombstone.Targets {
		target := &p.status.Tombstone.Targets[i]
		anchor := target.Anchor()
		s := f.at(anchor.Kind, anchor.Value)
		if s == nil { // taken down by an earlier one of its targets
			continue
		}
		s.edit(target, func(list []*pendingTombstone) []*pendingTombstone {
			return slices.DeleteFunc(list, func(q *pendingTombstone) bool { return q == p })
		})
		if s.empty() {
			delete(f[anchor.Kind], anchor.Value)
		}
	}
}
