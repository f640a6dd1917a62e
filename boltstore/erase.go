package boltstore

import (
	"bytes"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// The stages of an erasure. Pending tombstones come first: what is retired later is clean then. Events come last: what is
// written until then may still name the user.
const (
	_ uint32 = iota
	scrubPending
	scrubHistory
	scrubGuards
	scrubEvents
	scrubbed
)

// erase goes on with an erasure whose sweep is over, looks at no more than so many rows, and reports whether it has come
// through. The caller saves.
func (r *records) erase(p *revocation, visit *int) bool {
	for ; p.stage < scrubbed; p.stage, p.key = p.stage+1, "" {
		bucket, scrub := bucketLive, r.scrubPending
		switch p.stage {
		case scrubHistory:
			bucket, scrub = bucketRetired, r.scrubRetired
		case scrubGuards:
			bucket, scrub = bucketAges, r.scrubGuard
		case scrubEvents:
			bucket, scrub = bucketOutbox, r.scrubEvent
		}
		var keys [][]byte
		ended := r.after(bucket, nil, []byte(p.key), func(k, _ []byte) bool {
			if *visit < 1 {
				return false
			}
			*visit--
			keys = append(keys, bytes.Clone(k))
			return true
		})
		for _, k := range keys {
			p.key = string(k)
			scrub(&p.status.Tombstone, k)
		}
		if !ended {
			return false
		}
	}
	return true
}

// scrubPending is for a tombstone that covers nothing any more: the erasing one has swept it all.
func (r *records) scrubPending(by *domain.Tombstone, id []byte) {
	if bytes.Equal(id, by.ID[:]) {
		return
	}
	p := must(decode(r.get(bucketLive, id), revocationFields))
	clean := p
	switch by.Scrub(&clean.status.Tombstone, r.meta.erasureKey) {
	case domain.RemainsPseudonymous:
		r.takeDown(&p)
		r.putUp(&clean)
		r.putLive(&clean)
	case domain.RemainsNothing:
		r.unfence(&p)
		r.forgetGuards(&p.status.Tombstone)
	}
}

func (r *records) scrubRetired(by *domain.Tombstone, id []byte) {
	p := must(decode(r.get(bucketRetired, id), revocationFields))
	switch by.Scrub(&p.status.Tombstone, r.meta.erasureKey) {
	case domain.RemainsPseudonymous:
		r.putRetired(&p)
	case domain.RemainsNothing:
		r.forget(&p)
	}
}

func (r *records) scrubGuard(by *domain.Tombstone, age []byte) {
	was := r.guard(age)
	guard := was
	switch by.ScrubGuard(&guard, r.meta.erasureKey) {
	case domain.RemainsPseudonymous:
		r.drop(&was)
		r.remember(guard)
	case domain.RemainsNothing:
		r.meta.horizon = r.meta.horizon.Forget(was)
		r.drop(&was)
	}
}

// beginErasure ends the sweep of a revocation that erases. The rest of it comes last in the slice ([records.endErasure]).
func (r *records) beginErasure(p *revocation) {
	if p.stage == 0 {
		p.stage = scrubPending
	}
	if p.walks {
		id := p.id()
		r.delete(bucketWalkers, id[:])
		p.walks = false
	}
	r.putLive(p)
}

// endErasure goes on with an erasure. Another one may have changed it in the same slice, or ended it.
func (r *records) endErasure(status *store.Status, visit *int, by store.Bounds) {
	p, ok := r.live(status.Tombstone.ID)
	switch {
	case !ok:
		status.Retired, status.RetiredAt = true, by.Now
		return
	case r.erase(&p, visit):
		r.retire(&p, by)
	default:
		r.putLive(&p)
	}
	*status = p.status
}
