package tokenstoretest

import (
	"errors"
	"slices"

	"example.com/tokenstore"
	"pgregory.net/rapid"
)

var eraseOperation = operation{"erase", 1, (*machine).erase}

// erase erases a user or, rarely, everything.
func (m *machine) erase(t *rapid.T) {
	w := m.tenant(t)
	target := tokenstore.Target{UserID: pick(t, "user", users...)}
	if chance(t, "everything", 6) {
		target = tokenstore.Target{Everything: true}
	}
	at := m.clock.now()
	receipt, err := w.Erase(m.ctx, tokenstore.EraseRequest{UserID: target.UserID, Everything: target.Everything, Reason: "erase", Actor: target.UserID})
	t.Logf("%s: erase %+v: %v", w.name, target, err)
	if errors.Is(err, tokenstore.ErrBusy) && target.Everything {
		return
	}
	if err != nil || !receipt.Status.Tombstone.Erases {
		fail(t, "an erasure that is within the limits must succeed", "%+v, %v", receipt, err)
	}
	m.takeReceipt(t, w, receipt, []tokenstore.Target{target}, at)
	w.model.revocations[len(w.model.revocations)-1].erases = true
	if target.Everything { // from now on anything may go, itself included
		for _, r := range slices.Concat(w.model.revocations, w.model.evictions) {
			r.forgettable = true
		}
		w.model.trimmed = true
	}
}

// checkErased sees to it that nothing of what was erased is named any more. It holds at rest.
func (m *machine) checkErased(t *rapid.T, w *tenant) {
	for _, retired := range []bool{false, true} {
		for _, status := range w.revocations(t, m, retired) {
			for _, r := range w.model.revocations {
				if !r.erases || status.Tombstone.Watermark > r.receipt.Status.Tombstone.Watermark {
					continue
				}
				user := r.targets[0].UserID
				if user == "" {
					if left := status.Tombstone; !left.ErasesTenant() || left.Reason != "" || left.Actor != "" {
						fail(t, "an erased tenant must forget its revocations", "%+v", left)
					}
					continue
				}
				named := slices.ContainsFunc(status.Tombstone.Targets, func(t tokenstore.Target) bool { return t.UserID == user })
				if named || status.Tombstone.Actor == user {
					fail(t, "an erased user must not be named", "%s: %+v", user, status.Tombstone)
				}
			}
		}
	}
}
