// Package revocation is the engine that sweeps what has been revoked.
//
// A revocation is recorded as one tombstone in one durable write, and everything it covers is refused from then on. What
// is left to do is removing the covered records, which may be a million: that is the engine's work, in small slices, in
// the background, resumed after any crash.
//
//	        Revoke                    Apply, slice by slice                  Trim, after MemoryFor
//	(none) ────────▶ pending ───────────────────────────────▶ retired + guard ────────────────────▶ forgotten
//	                    │                                        ▲
//	                    └── a later revocation of the same targets ┘
//
// The engine is a pure planner ([plan], in step.go), which knows what is pending and says what to do next, and a thin loop
// around it ([Engine.Run]) that does it. The planner takes tenants in turn, and within a tenant puts a revocation that
// used up a slice behind the others, so that a huge one never holds up a small one. It holds a bounded number of revocations,
// and of each tenant, and finds the others when there is room (see look.go). What fails is tried again, alone and after a
// pause that grows, and holds up nothing else. Expired tokens and old guards are removed in slices between those of the sweep.
//
// Several engines may serve one database: sweeping is idempotent. Correctness never depends on an engine at all; without
// one, what is revoked is refused but stays in place.
package revocation
