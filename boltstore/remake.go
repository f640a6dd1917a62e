package boltstore

import (
	"context"
	"errors"

	"go.etcd.io/bbolt"
)

// Remade says what became of a file that another has taken the place of.
type Remade struct {
	Before, After int64  // Before and After are its sizes in bytes.
	Kept          string // Kept is where the file from before is now; "" if it is gone.
}

// remake lets a new file take the place of this one, which has to be open alone. It gets what fill puts into it, and has to be in order
// and to hold all that is selected. It has the format of this program, also where this one is older. A draft that a crash has left is removed.
func (f *offline) remake(ctx context.Context, kind, keep string, fill func(*bbolt.Tx, *copier) error, s selection) (r Remade, err error) {
	if err := dropStale(f.path, kind); err != nil {
		return Remade{}, err
	}
	d, err := newDraft(f.path, kind)
	if err != nil {
		return Remade{}, err
	}
	defer func() { err = errors.Join(err, d.drop()) }()
	err = f.view(func(from *bbolt.Tx) error {
		return d.write(ctx, func(to *copier) error {
			if err := fill(from, to); err != nil {
				return err
			}
			return current().bringUp(to.tx)
		})
	})
	if err != nil {
		return Remade{}, err
	}
	if r.After, err = f.approve(ctx, d, s); err != nil {
		return Remade{}, err
	}
	r.Before = f.size
	r.Kept, err = d.takeOver(keep)
	return r, err
}

// approve looks at a draft, as it was written: it has to be in order, and to hold every record of the file.
func (f *offline) approve(ctx context.Context, d draft, s selection) (size int64, err error) {
	made, err := look(d.name, lockTimeout)
	if err != nil {
		return 0, err
	}
	defer made.close()
	findings, err := made.examine(ctx)
	switch {
	case err != nil:
		return 0, err
	case len(findings) > 0:
		return 0, &DamageError{Findings: findings}
	}
	err = made.view(func(to *bbolt.Tx) error {
		return f.db.View(func(from *bbolt.Tx) error { return compare(ctx, nil, root(from), root(to), s.broughtUp(from)) })
	})
	return made.size, err
}
