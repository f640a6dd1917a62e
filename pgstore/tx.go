package pgstore

import (
	"context"
	"errors"
	"strconv"
	"time"

	"example.com/tokenstore/store"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// lock is how a transaction holds its tenant, in the order of package doc.
type lock uint8

const (
	lockNone      lock = iota // a snapshot, of which nothing is written
	lockFeed                  // nothing is written, and nobody else writes events; each statement has a snapshot of its own
	lockShared                // many at once
	lockExclusive             // alone
)

// errExclusive has a transaction begin again as one that is alone.
var errExclusive = errors.New("pgstore: to be repeated alone")

// errNoTenant has a transaction begin again once the tenant has a row.
var errNoTenant = errors.New("pgstore: tenant without a row")

// tx is one attempt at a verb: one transaction of one connection.
type tx struct {
	backend *Backend
	q       *queries
	tenant  identity
	name    string // the tenant's
	conn    *pgxpool.Conn
	lock    lock
	queue   []step // what is to be sent with the next round trip
	news    []step // what is to be sent after the commit, and may be lost
	open    bool   // the transaction has begun
	ended   bool
	feeding bool // it holds the lock of the feed
	short   bool // one round trip: the lock and the statements, which the protocol makes one transaction
	merged  bool // some of them are about many tokens
	tally   tally
}

// step is a statement, and what takes each of its rows, if there are any to take.
type step struct {
	sql  string
	args []any
	row  func(pgx.Rows) error
}

// do has statements sent with the next round trip.
func (t *tx) do(steps ...step) { t.queue = append(t.queue, steps...) }

// fetch sends what is to be sent and the steps, in one round trip, and takes their rows.
func (t *tx) fetch(ctx context.Context, steps ...step) error {
	t.do(steps...)
	return t.send(ctx, false)
}

// commit sends what is to be sent, and commits. None of it may take rows that could still have the commit fail.
func (t *tx) commit(ctx context.Context) error {
	t.do(t.tallied()...)
	// Once it is on its way, the outcome is worth more than the caller's time.
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.backend.opts.CommitTimeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return &failure{cause: err}
	}
	return t.send(bounded, true)
}

// finish ends a transaction of which nothing has been written, with what is to be fetched last.
func (t *tx) finish(ctx context.Context, steps ...step) error {
	t.do(steps...)
	return t.send(ctx, true)
}

func (t *tx) send(ctx context.Context, commit bool) error {
	batch := &pgx.Batch{}
	if !t.open {
		t.begin(batch)
		t.open = true
	}
	for _, s := range t.queue {
		queued := batch.Queue(s.sql, s.args...)
		if s.row != nil {
			queued.Query(func(rows pgx.Rows) error {
				for rows.Next() {
					if err := s.row(rows); err != nil {
						return unscanned(err)
					}
				}
				return rows.Err()
			})
		}
	}
	t.queue = nil
	doubtful := doubts(t.conn.Conn().PgConn())
	*doubtful = false
	var tag pgconn.CommandTag
	if commit && !t.short {
		batch.Queue(t.q.commit).Exec(func(ct pgconn.CommandTag) error { tag = ct; return nil })
		for _, s := range t.news {
			batch.Queue(s.sql, s.args...)
		}
	}
	if batch.Len() == 0 {
		return nil
	}
	err := t.conn.SendBatch(ctx, batch).Close()
	committed := tag.String() == "COMMIT"
	switch {
	case err != nil && !committed:
		f := &failure{cause: plain(err)}
		if commit && t.lock >= lockShared {
			f.unknown = t.unknown(err)
		}
		t.ended = f.unknown
		return f
	case !commit:
		return nil
	}
	t.ended = true
	switch {
	case !t.short && !committed:
		return &failure{cause: errors.New("the server has rolled back")}
	case *doubtful && t.lock >= lockShared:
		return &failure{cause: errors.New("the server warned that the commit may not have reached its standby"), unknown: true}
	}
	return nil
}

// begin queues what comes first: the transaction, its limits of time, and the tenant's lock. What stands after the lock sees all
// that was committed before it was granted, because each statement takes a snapshot of its own.
func (t *tx) begin(batch *pgx.Batch) {
	limits := []any{strconv.FormatInt(t.backend.opts.StatementTimeout.Milliseconds(), 10)}
	serializable := t.backend.opts.Serializable
	switch {
	case t.lock < lockShared && serializable:
		batch.Queue(t.q.beginPortableRead)
	case serializable:
		batch.Queue(t.q.beginPortable)
		batch.Queue(t.q.limit, limits...)
	case t.short && t.lock == lockNone: // a statement is a snapshot of its own
	case t.lock == lockNone:
		batch.Queue(t.q.beginSnapshot)
	case t.lock == lockFeed:
		batch.Queue(t.q.begin)
		batch.Queue(t.q.lockExclusive, append(limits, t.backend.lockOfFeed(t.tenant))...)
	case t.lock == lockExclusive:
		batch.Queue(t.q.begin)
		batch.Queue(t.q.lockExclusive, append(limits, t.backend.lockOf(t.tenant))...)
	default:
		lock := t.q.lockShared
		switch {
		case t.merged:
			lock = t.q.lockMerged
		case t.short:
			lock = t.q.lockShort
		default:
			batch.Queue(t.q.begin)
		}
		batch.Queue(lock, append(limits, t.backend.lockOf(t.tenant))...)
	}
}

// lockFeed keeps readers from the feed until the transaction ends, but not other writers.
func (t *tx) lockFeed() {
	if t.feeding || t.backend.opts.Serializable {
		return
	}
	t.feeding = true
	t.do(step{sql: t.q.lockFeed, args: []any{t.backend.lockOfFeed(t.tenant)}})
}

// unknown reports whether a commit that failed can have been made.
func (t *tx) unknown(err error) bool {
	pgerr, ok := errors.AsType[*pgconn.PgError](err)
	if ok && (pgerr.SeverityUnlocalized == "ERROR" || pgerr.Code == "25P03") { // idle_in_transaction_session_timeout
		return false // the server has rolled back
	}
	if pgconn.SafeToRetry(err) {
		return false // nothing was sent
	}
	conn := t.conn.Conn()
	return conn.IsClosed() || conn.PgConn().TxStatus() == 'I'
}

// close ends the attempt, whatever has become of it.
func (t *tx) close() {
	if t.open && !t.ended && !t.conn.Conn().IsClosed() {
		ctx, cancel := context.WithTimeout(context.Background(), t.backend.opts.CommitTimeout)
		defer cancel()
		_, _ = t.conn.Exec(ctx, t.q.rollback) // a connection that fails here is not used again
	}
	t.conn.Release()
}

// maxAttempts bounds how often a transaction is begun again that others were faster than.
const maxAttempts = 200

// write runs a verb in a transaction, again where another one was faster.
func (s *tenant) write(ctx context.Context, hold lock, verb func(*tx) error) error {
	for attempt := 0; ; attempt++ {
		err := s.attempt(ctx, hold, verb)
		f, failed := errors.AsType[*failure](err)
		switch {
		case err == errExclusive:
			hold = lockExclusive
			continue
		case err == errNoTenant:
			if err := s.create(ctx); err != nil {
				return err
			}
			continue
		case failed && f.again():
			if attempt == maxAttempts {
				return f
			}
			if err := pause(ctx, attempt); err != nil {
				return &failure{cause: err}
			}
			continue
		}
		return err
	}
}

func (s *tenant) attempt(ctx context.Context, hold lock, verb func(*tx) error) error {
	return s.backend.with(ctx, s, hold, verb)
}

// snapshot runs a verb that only reads, on one consistent view of the database.
func (s *tenant) snapshot(ctx context.Context, verb func(*tx) error) error {
	return s.read(ctx, lockNone, verb)
}

func (s *tenant) read(ctx context.Context, hold lock, verb func(*tx) error) error {
	return s.backend.read(ctx, s, hold, verb)
}

func (b *Backend) read(ctx context.Context, s *tenant, hold lock, verb func(*tx) error) error {
	for attempt := 0; ; attempt++ {
		err := b.with(ctx, s, hold, verb)
		f, failed := errors.AsType[*failure](err)
		if !failed {
			return err
		}
		if !f.again() || attempt == maxAttempts || pause(ctx, attempt) != nil {
			return f.reading()
		}
	}
}

// with runs one attempt, also to its end if the verb panics.
func (b *Backend) with(ctx context.Context, s *tenant, hold lock, verb func(*tx) error) error {
	if b.closed.Load() {
		return store.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	conn, err := b.pool.Acquire(ctx)
	if err != nil {
		return b.notAcquired(err)
	}
	t := &tx{backend: b, q: b.q, tenant: s.id, name: s.name, conn: conn, lock: hold}
	defer t.close()
	return verb(t)
}

// pause waits a little longer at each attempt, or until ctx ends.
func pause(ctx context.Context, attempt int) error {
	timer := time.NewTimer(min(time.Duration(attempt)*500*time.Microsecond, 50*time.Millisecond))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
