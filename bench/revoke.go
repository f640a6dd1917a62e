package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"example.com/tokenstore"
)

// levels are how many tokens the users have that are revoked, and how many users of each kind there are.
func (b *bench) levels() []level {
	var levels []level
	for _, l := range []level{{10, 21}, {1000, 11}, {100_000, 3}, {1_000_000, 1}} {
		if b.quick {
			l.users = min(l.users, 3)
		}
		if l.tokens <= b.revoke {
			levels = append(levels, l)
		}
	}
	return levels
}

type level struct{ tokens, users int }

// revocations compares how long it takes until no token of a user can be used any more, by how many she has.
func (b *bench) revocations(ctx context.Context) (err error) {
	contenders := []*contender{
		tokenstoreBolt(b.dir, boltName, tokenstore.NoOutbox), tokenstoreMemory().contender(memName, "none: memory"),
		boltBatch(b.dir), pebbleStore(b.dir),
	}
	servers, err := b.servers(ctx)
	if err != nil {
		return err
	}
	contenders = append(contenders, servers...)
	defer func() { err = errors.Join(err, closeAll(contenders)) }()
	for _, c := range contenders {
		began, n := time.Now(), 0
		p := newPopulation(3, b.tokens/10)
		p.sequential = true
		for _, l := range b.levels() {
			for u := range l.users {
				if err := fill(ctx, c, p, n, l.tokens, func(int) string { return l.user(u) }); err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
				n += l.tokens
			}
		}
		b.logf("%-36s loaded %d tokens in %s", c.name, n, time.Since(began).Round(time.Millisecond))
	}
	for _, l := range b.levels() {
		err := inTurn(l.users, len(contenders), func(round, i int) error {
			c := contenders[i]
			if err := settled(ctx, c); err != nil {
				return err
			}
			began := time.Now()
			if err := c.revokeUser(ctx, l.user(round)); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			t := turn{calls: 1, tokens: l.tokens, elapsed: time.Since(began)}
			b.results.add(l.key(), c.name, t)
			b.logf("%-20s %-36s round %d: %s", l.key(), c.name, round, t.elapsed)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return b.written(ctx, contenders[0])
}

func (l level) user(i int) string { return fmt.Sprintf("user-%d-%d", l.tokens, i) }
func (l level) key() string       { return fmt.Sprintf("revoke user/%d", l.tokens) }

// fill keeps n tokens, each of the user that it is told.
func fill(ctx context.Context, c *contender, p *population, from, n int, user func(i int) string) error {
	const batch = 10_000
	for at := from; at < from+n; at += batch {
		rows := p.rows(at, min(at+batch, from+n))
		for i := range rows {
			rows[i].user = user(at + i)
		}
		if err := c.fill(ctx, rows); err != nil {
			return err
		}
	}
	return nil
}

// settled has what earlier calls left to be written written, so that the next one does not wait for it.
func settled(ctx context.Context, c *contender) error {
	if c.settle == nil {
		return nil
	}
	return c.settle(ctx)
}

// written counts what the revocation of a user with few tokens writes, and of one with many. Each revocation names a time
// beside the user, so that it is another one than those before.
func (b *bench) written(ctx context.Context, c *contender) error {
	levels := b.levels()
	few, many := levels[0], levels[len(levels)-1]
	began := time.Now()
	counts := map[int][][3]float64{}
	for i := range 15 {
		for _, l := range []level{few, many} {
			target := tokenstore.Target{UserID: l.user(0), IssuedBefore: began.Add(time.Duration(i+1) * time.Hour)}
			before := c.shared()
			bytes := bytesWritten()
			at := time.Now()
			if err := c.revokeTarget(ctx, target); err != nil {
				return err
			}
			took := time.Since(at)
			commits := c.shared().Commits - before.Commits
			counts[l.tokens] = append(counts[l.tokens], [3]float64{float64(commits), (bytesWritten() - bytes) / 4096, float64(took)})
		}
	}
	for of, l := range map[string]level{"few": few, "many": many} {
		for i, what := range []string{"commits", "pages", "ns"} {
			var figures []float64
			for _, c := range counts[l.tokens] {
				figures = append(figures, c[i])
			}
			b.facts.add("revoke "+of+" "+what, figures...)
			b.logf("revoke user of %d: %s %s", l.tokens, what, b.facts["revoke "+of+" "+what])
		}
	}
	var ratios []float64
	for i := range counts[few.tokens] {
		ratios = append(ratios, counts[many.tokens][i][2]/counts[few.tokens][i][2])
	}
	b.facts.add("revoke many/few", ratios...)
	return nil
}

// bytesWritten is how many bytes this process has written by system calls since it began; 0 where the kernel doesn't tell.
func bytesWritten() float64 {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "wchar:"); ok {
			n, _ := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return n
		}
	}
	return 0
}
