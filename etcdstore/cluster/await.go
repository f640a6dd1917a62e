package cluster

import (
	"context"
	"time"
)

// Await asks, again and again, until something holds or ctx ends. It is for what other programs do not give any sign of.
func Await(ctx context.Context, holds func(context.Context) bool) error {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !holds(ctx) {
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
