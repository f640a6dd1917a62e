package boltstore

import (
	"context"

	"go.etcd.io/bbolt"
)

// Compact lets a copy of the file, which has no free pages to speak of, take its place. No process may have it open, or opens it
// meanwhile. The copy is made beside it, where it needs as much room again; it is checked, compared with the file, and on the disk before
// it takes its name, in one step, with its owner and mode. So a crash at any instant leaves the file as it was, or all of the new one;
// the next Compact removes what a crash has left of a copy.
//
// A file that is not in order stays as it was: the error is a [DamageError] then, an error as of [Open], or [ErrFull]; so does one that
// has another hard link, which is [ErrUnusable]. Of the
// options, MaxSize has no part in it.
func Compact(ctx context.Context, path string, opts *Options) (Remade, error) {
	f, err := lookAlone(ctx, path, opts)
	if err != nil {
		return Remade{}, err
	}
	defer f.close()
	if err := f.inspect(ctx, scope{whole: true}); err != nil {
		return Remade{}, err
	}
	all := everything()
	return f.remake(ctx, "compact", "", func(from *bbolt.Tx, to *copier) error { return to.copy(nil, root(from), all) }, all)
}
