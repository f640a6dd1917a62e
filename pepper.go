package tokenstore

import (
	"cmp"
	"context"
	"slices"

	"example.com/tokenstore/store"
)

// PepperUse says how many tokens of the tenant have digests that were made under a key.
type PepperUse struct {
	KeyID   string // KeyID is the key's id; empty for tokens whose digests were made under none.
	Tokens  int
	Current bool // Current says that what is written now is made under the key.
	Missing bool // Missing says that the ring lacks the key: none of the tokens can be exchanged.
}

// PepperUse counts the tenant's tokens by the key that their digests were made under, revoked ones that are not yet swept
// included: one entry for each key that is in the ring or in use, and for none, by ascending id. A key that is not current
// and has no token may be taken out of the ring, once no process has it as its current one any more.
//
// It walks all tokens, page by page. A token moves to the current key only, at its next exchange, so one that is exchanged
// meanwhile may still be counted for its old key, but none is missed.
func (m *Manager) PepperUse(ctx context.Context) ([]PepperUse, error) {
	tokens := map[string]int{"": 0}
	for _, id := range m.opts.Pepper.IDs() {
		tokens[id] = 0
	}
	for token, err := range m.All(ctx, ListRequest{Limit: store.MaxPage}) {
		if err != nil {
			return nil, err
		}
		tokens[token.PepperKeyID]++
	}
	uses := make([]PepperUse, 0, len(tokens))
	for id, n := range tokens {
		uses = append(uses, PepperUse{
			KeyID: id, Tokens: n, Current: id == m.opts.Pepper.Current(), Missing: !m.opts.Pepper.Holds(id),
		})
	}
	slices.SortFunc(uses, func(a, b PepperUse) int { return cmp.Compare(a.KeyID, b.KeyID) })
	return uses, nil
}
