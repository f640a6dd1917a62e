package store

// As returns a backend or a store as a T: itself, or the first that is one of those that it wraps. T is an interface that not all of
// them have, such as [Outbox], [Mover] and [Grouper], or the type of one. A wrapper hands out what it wraps by a method Unwrap
// that returns a [Backend] or a [Store]. Where such an interface is looked for by a type assertion instead, a wrapper that does not
// know of it hides it.
func As[T any](of any) (as T, ok bool) {
	for {
		if as, ok = of.(T); ok {
			return as, true
		}
		switch wrapper := of.(type) {
		case interface{ Unwrap() Backend }:
			of = wrapper.Unwrap()
		case interface{ Unwrap() Store }:
			of = wrapper.Unwrap()
		default:
			return as, false
		}
	}
}

// Grouper is what a [Backend] can do beside its verbs whose writers share commits: tell how many do.
type Grouper interface {
	// Stats returns the counts since the backend was opened. It takes no time, and works after Close.
	Stats() Stats
}

// Stats is what a backend has written since it was opened.
type Stats struct {
	Commits uint64 // Commits is how many transactions were written.
	Calls   uint64 // Calls is how many calls shared them.
	Merges  uint64 // Merges is how many of the transactions also merged parts of an index; 0 of a backend that merges none.
}
