package memstore

import (
	"slices"

	"example.com/tokenstore/domain"
)

// fence is where pending tombstones are found: each stands under the anchors of its targets, by kind and value.
type fence [domain.AnchorNone + 1]map[string][]*pendingTombstone

// under returns the tombstones that stand under an anchor.
func (f *fence) under(a domain.Anchor) []*pendingTombstone {
	if len(f[a.Kind]) == 0 {
		return nil
	}
	return f[a.Kind][a.Value]
}

func (f *fence) putUp(p *pendingTombstone) {
	for _, a := range p.status.Tombstone.Anchors() {
		if f[a.Kind] == nil {
			f[a.Kind] = map[string][]*pendingTombstone{}
		}
		f[a.Kind][a.Value] = append(f[a.Kind][a.Value], p)
	}
}

func (f *fence) takeDown(p *pendingTombstone) {
	for _, a := range p.status.Tombstone.Anchors() {
		rest := slices.DeleteFunc(f[a.Kind][a.Value], func(q *pendingTombstone) bool { return q == p })
		if len(rest) == 0 {
			delete(f[a.Kind], a.Value)
		} else {
			f[a.Kind][a.Value] = rest
		}
	}
}
