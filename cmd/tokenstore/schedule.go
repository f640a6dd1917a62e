package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/store"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
)

// scheduleFlags have a file backed up while it is served.
type scheduleFlags struct {
	dir   string
	every time.Duration
}

func (f *scheduleFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.dir, "backup-dir", "", "back the file up into `DIR` while it is served, and check each backup; none is removed")
	flags.DurationVar(&f.every, "backup-every", 24*time.Hour, "how long after the latest backup in --backup-dir to make the next")
	needs(flags, "backup-every", "backup-dir")
}

func (f *scheduleFlags) check(scheme string) error {
	switch {
	case f.every <= 0:
		return usage("--backup-every must be positive")
	case f.dir == "":
		return nil
	case scheme != "":
		return usage("--backup-dir is for a file: %s is backed up by its own tools", scheme)
	}
	if info, err := os.Stat(f.dir); err != nil || !info.IsDir() {
		return usage("--backup-dir: %s is no directory: make it first", f.dir)
	}
	return nil
}

// backupName is the name of a backup, of when it was made.
const backupName = "tokens-20060102T150405Z.db"

// latest is when the latest backup in the directory was made; the zero time if there is none.
func (f *scheduleFlags) latest() (latest time.Time) {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return latest // the backup will say so
	}
	for _, entry := range entries {
		if at, err := time.Parse(backupName, entry.Name()); err == nil && at.After(latest) {
			latest = at
		}
	}
	return latest
}

// run makes backups until ctx ends. One that fails is tried again as late as the next would be.
func (f *scheduleFlags) run(ctx context.Context, database store.Backend, made *prometheus.CounterVec, logger *slog.Logger) {
	file, is := database.(*boltstore.Backend)
	if !is || f.dir == "" {
		return
	}
	for next := f.latest().Add(f.every); ; next = time.Now().Add(f.every) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(next)):
		}
		path := filepath.Join(f.dir, time.Now().UTC().Format(backupName))
		err := file.Backup(ctx, path)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			made.WithLabelValues("failed").Inc()
			logger.ErrorContext(ctx, "the backup failed", "error", notPlaced(path, err))
		default:
			made.WithLabelValues("made").Inc()
			logger.InfoContext(ctx, "backed up, and checked", "file", path)
		}
	}
}
