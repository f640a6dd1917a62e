package boltstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"go.etcd.io/bbolt"
)

// maxFindings is how many findings a [Backend.Check] reports before it gives up.
const maxFindings = 100

// Check looks at the whole file, as of one commit: bbolt's own structure, and then, tenant by tenant, whether every record
// can be read and indexes, fence and counts agree with the records. It returns what it found, at most 100 findings, and
// none if all is well. Once ctx has ended it ends too, at the next page or record, with that error and what it has found so far; but it
// waits for a commit that is under way.
// Writers wait while it looks at bbolt's structure. It holds a transaction open for as long as it
// takes, so the file grows by what is written meanwhile. After a write that was [ErrCorrupt], it may find pages that are neither in
// use nor free; where nothing else is damaged they are free again when the file has been closed and opened.
func (b *Backend) Check(ctx context.Context) (findings []string, err error) {
	// The list of free pages belongs to the writer, and what is in use changes with every commit.
	writer, err := b.beginWriting()
	if err != nil {
		return nil, err
	}
	release := sync.OnceFunc(func() { b.endWriting(writer) })
	defer release()
	// bbolt trusts the lengths that pages claim, so they are looked at before it reads any.
	im, err := b.surveyWhole(ctx)
	if err == nil {
		findings, err = b.compareFree(ctx, writer, im)
	}
	switch {
	case isDamage(err):
		return []string{err.Error()}, nil
	case err != nil || len(findings) > 0:
		return findings, err
	}
	_, err = b.peek(ctx, func(t *txn) error {
		release()
		findings, err = t.examine(ctx)
		return err
	})
	return findings, err
}

// CheckFile is [Backend.Check] for a file that no process has open. It writes nothing, also not what [Open] would bring to an end, and
// finds damage too for which a file does not open. What is no file of ours is an error, as for Open, and so is one that is not there.
// Of the options, MaxSize has no part in it.
func CheckFile(ctx context.Context, path string, opts *Options) (findings []string, err error) {
	timeout, err := opts.lockTimeout()
	if err != nil {
		return nil, err
	}
	f, err := look(path, timeout)
	if err != nil {
		return nil, err
	}
	defer f.close()
	return f.examine(ctx)
}

// surveyWhole surveys the file as it is, while nobody writes.
func (b *Backend) surveyWhole(ctx context.Context) (*image, error) {
	file, err := os.Open(b.db.Path())
	if err != nil {
		return nil, unusable(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, unusable(err)
	}
	return survey(ctx, file, info.Size(), scope{whole: true})
}

// compareFree compares the pages in use with bbolt's list of free ones, which it keeps in memory: each page is to be one or the other.
func (b *Backend) compareFree(ctx context.Context, writer *bbolt.Tx, im *image) (findings []string, err error) {
	stats := b.db.Stats()
	listed, free := stats.FreePageN+stats.PendingPageN, 0
	err = protect(func() error {
		for id := uint64(2); id < im.pages && len(findings) < maxFindings; id++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			page, err := writer.Page(int(id))
			switch {
			case err != nil:
				return unusable(err)
			case page == nil:
				findings = append(findings, fmt.Sprintf("page %d: out of bounds", id))
			case page.Type == "free":
				free++
				if im.seen.has(id) {
					findings = append(findings, fmt.Sprintf("page %d: reachable freed", id))
				}
			case !im.seen.has(id):
				findings = append(findings, fmt.Sprintf("page %d: unreachable unfreed", id))
			}
		}
		return nil
	})
	if err == nil && len(findings) < maxFindings && free != listed { // some are there twice, or beyond the last page
		findings = append(findings, fmt.Sprintf("%d pages are free, and %d are listed so", free, listed))
	}
	return findings, err
}

// examine looks at the records that a snapshot shows.
func (t *txn) examine(ctx context.Context) (findings []string, err error) {
	for finding := range t.findings(ctx) {
		if findings = append(findings, finding); len(findings) == maxFindings {
			break
		}
	}
	return findings, ctx.Err()
}

// examine looks at everything.
func (f *offline) examine(ctx context.Context) (findings []string, err error) {
	switch damage := f.inspect(ctx, scope{whole: true}); {
	case isDamage(damage):
		return []string{damage.Error()}, nil
	case damage != nil:
		return nil, damage
	}
	err = f.view(func(tx *bbolt.Tx) error {
		findings, err = (&txn{tx: tx}).examine(ctx)
		return err
	})
	if errors.Is(err, ErrCorrupt) { // of what every tenant's records lie in
		return []string{err.Error()}, nil
	}
	return findings, err
}

func isDamage(err error) bool { return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrTruncated) }
