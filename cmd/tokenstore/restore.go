package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/spf13/cobra"
)

// restoreFlags say what is restored, and what becomes of what was revoked since.
type restoreFlags struct {
	databaseFlags
	confirmFlags
	causeFlags
	events           []string
	cutoff, override bool
	inPlace          bool
	also             []string
	id               string
}

func newRestoreCommand() *cobra.Command {
	var f restoreFlags
	cmd := &cobra.Command{
		Use:   "restore --db FILE BACKUP | --db FILE|URL --in-place, with --events, --cut-off or --override",
		Short: "Put a backup to use, without bringing back what was revoked since",
		Long: "restore makes the file of a backup, which must not be there yet. With --in-place, and no backup, it makes a database fit for use that\n" +
			"its own tools have put back; nothing else may use it meanwhile. It begins a new epoch, so that nothing from the lost time is taken\n" +
			"for current, and it wants to know what is to become of what was revoked since the backup, by one of:\n\n" +
			"  --events    it is revoked again, by the copy of each tenant's feed that was kept outside of what is restored\n" +
			"  --cut-off   everything that was issued before now is revoked: everybody has to log in again\n" +
			"  --override  it is live again; that this was asked for is recorded\n\n" +
			"If it is broken off, call it again. A file gets its name last.",
		Example: "  tokenstore restore --db restored.db --events events.ndjson backups/tokens-2026-11-26.db\n" +
			"  tokenstore restore --db restored.db --cut-off --yes backups/tokens-2026-11-26.db\n" +
			"  tokenstore restore --db postgres://app@localhost/tokens --events acme=acme.ndjson --events globex=globex.ndjson --in-place --yes",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("restore takes one backup at most")
			}
			return nil
		},
	}
	flags := cmd.Flags()
	f.databaseFlags.register(flags)
	f.confirmFlags.register(flags)
	flags.StringArrayVar(&f.events, "events", nil, "the feed since the backup, as tokenstore events and WriteEvents write it: `TENANT=FILE` for each\n"+
		"tenant of the backup, or FILE for the tenant default")
	flags.BoolVar(&f.inPlace, "in-place", false, "change the database of --db itself, which has been put back to an earlier state")
	flags.BoolVar(&f.cutoff, "cut-off", false, "revoke everything that was issued before now, in all tenants")
	flags.BoolVar(&f.override, "override", false, "let what was revoked since the backup be live again")
	flags.StringArrayVar(&f.also, "also", nil, "begin a new epoch for a `TENANT` that the backup does not have, too")
	flags.StringVar(&f.id, "id", "", "the `ULID` of the restoration (default that of one that was broken off, or a new one)")
	f.causeFlags.register(flags)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := f.check(args); err != nil {
			return err
		}
		return f.restore(cmd.Context(), args)
	}
	return cmd
}

func (f *restoreFlags) check(args []string) error {
	if err := f.databaseFlags.check(); err != nil {
		return err
	}
	if len(args) > 0 && f.scheme() != "" {
		return usage("a backup to restore is for a file: %s is put back by its own tools first", f.scheme())
	}
	switch {
	case len(args) > 0 && f.inPlace:
		return usage("--in-place changes the database itself, and takes no backup to make one of")
	case len(args) == 0 && !f.inPlace:
		return usage("restore takes the backup that --db is to be made of, or --in-place for a database that has been put back to an earlier state. Nothing was done")
	}
	methods := 0
	for _, given := range []bool{len(f.events) > 0, f.cutoff, f.override} {
		if given {
			methods++
		}
	}
	if methods != 1 {
		return usage("exactly one of --events, --cut-off and --override says what becomes of what was revoked since the backup")
	}
	if f.yes && f.unasked() {
		return usage("--yes does nothing with --events and a backup: a new file is made of them unasked")
	}
	if err := f.causeFlags.check(); err != nil {
		return err
	}
	for _, name := range f.also {
		if err := domain.CheckTenant(name); err != nil {
			return usage("--also: %w", err)
		}
	}
	return nil
}

func (f *restoreFlags) restore(ctx context.Context, args []string) (err error) {
	request := tokenstore.RestoreRequest{Cutoff: f.cutoff, Override: f.override, Tenants: f.also, Reason: f.reason, Actor: f.by()}
	if f.id != "" {
		if request.ID, err = parseID("--id", f.id); err != nil {
			return err
		}
	}
	if len(args) > 0 {
		if _, err := os.Lstat(f.name()); err == nil {
			return usage("--db: %s is there already, and left alone: move it away; or, if it is what has been put back, restore it with --in-place and no backup", f.name())
		}
		if _, err := os.Stat(args[0]); err != nil {
			return usage("%w", fileError(err))
		}
	}
	closeAll, err := f.openEvents(&request, append([]string{f.name()}, args...))
	defer closeAll()
	if err != nil {
		return err
	}
	sayWhereEventsEnd(request.Events)
	if err := f.ask(ctx); err != nil {
		return err
	}
	report, err := f.restoreAs(ctx, request, args)
	switch {
	case err != nil && report.Tenants > 0 && len(args) == 0:
		return fmt.Errorf("restoration %s is not complete, and is to be repeated before the database is used: %w", report.ID, err)
	case err != nil:
		return err
	}
	fmt.Fprintf(os.Stderr, "restored: tenants %d, events %d, revocations %d; the restoration is %s\n", report.Tenants, report.Events, report.Revoked, report.ID)
	return nil
}

// unasked reports whether there is nothing to ask: a new file is made, and all that was revoked is revoked again.
func (f *restoreFlags) unasked() bool { return !f.inPlace && !f.override && !f.cutoff }

// ask asks where something that is there is changed, or everybody is logged out, or what was revoked comes back.
func (f *restoreFlags) ask(ctx context.Context) error {
	if f.unasked() {
		return nil
	}
	var question string
	if f.inPlace {
		question = "The database itself will be changed, and there is no way back: in each of its tenants a new epoch begins, and logins and readers of before are not taken for current. "
	}
	switch {
	case f.override:
		question += "What was revoked since the backup will be live again."
	case f.cutoff:
		question += "Everything that was issued before now will be revoked, and everybody has to log in again."
	default:
		question += "What the events report is revoked again."
	}
	if f.inPlace {
		question += " Does nothing else use it, and is it to be?"
	} else {
		question += " Is that to be?"
	}
	return f.confirm(ctx, func() (string, error) { return question, nil })
}

// restoreAs makes the file, or changes the database in place.
func (f *restoreFlags) restoreAs(ctx context.Context, request tokenstore.RestoreRequest, args []string) (report tokenstore.RestoreReport, err error) {
	do := func(ctx context.Context, backend store.Backend) (err error) {
		report, err = tokenstore.Restore(ctx, backend, request)
		return err
	}
	if len(args) > 0 {
		err := boltstore.Restore(ctx, args[0], f.name(), func(ctx context.Context, b *boltstore.Backend) error { return do(ctx, b) })
		if errors.Is(err, boltstore.ErrLocked) {
			return report, fmt.Errorf("%s is in use by another process: a backup is a copy that nobody writes to", args[0])
		}
		if err != nil {
			return report, notPlaced(f.name(), damaged(args[0], err))
		}
		return report, nil
	}
	database, err := f.open(ctx)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, database.Close()) }()
	err = do(ctx, database) // not in the return, which might read the report before
	return report, err
}

// openEvents opens the copies of the feeds, none of which may be a part of what is restored.
func (f *restoreFlags) openEvents(request *tokenstore.RestoreRequest, restored []string) (closeAll func(), err error) {
	var open []*os.File
	closeAll = func() {
		for _, file := range open {
			_ = file.Close()
		}
	}
	if len(f.events) == 0 {
		return closeAll, nil
	}
	request.Events = map[string]io.ReadSeeker{}
	for _, given := range f.events {
		tenant, name, named := strings.Cut(given, "=")
		if !named {
			tenant, name = "default", given
		}
		if err := domain.CheckTenant(tenant); err != nil {
			return closeAll, usage("--events: %w", err)
		}
		if request.Events[tenant] != nil {
			return closeAll, usage("--events: the tenant %s has two files", tenant)
		}
		file, err := os.Open(name)
		if err != nil {
			return closeAll, usage("--events: %w", fileError(err))
		}
		open = append(open, file)
		if err := outside(file, restored); err != nil {
			return closeAll, err
		}
		request.Events[tenant] = file
	}
	return closeAll, nil
}

// sayWhereEventsEnd tells the operator, who alone can know whether anything was revoked after that. What can't be read is an error of the
// restoration.
func sayWhereEventsEnd(feeds map[string]io.ReadSeeker) {
	for _, tenant := range slices.Sorted(maps.Keys(feeds)) {
		var last tokenstore.Event
		for event, err := range tokenstore.ReadEvents(feeds[tenant]) {
			if err != nil {
				break
			}
			if event.Number > last.Number {
				last = event
			}
		}
		if last.Number == 0 {
			fmt.Fprintf(os.Stderr, "tenant %q: the copy of its feed has no events: what was revoked since the backup, if anything was, would stay live\n", tenant)
			continue
		}
		fmt.Fprintf(os.Stderr, "tenant %q: the copy of its feed ends with event %d, of %s: what was revoked after it, if anything was, would stay live\n", tenant, last.Number, instant(last.Time))
	}
}

// outside sees to it that events come from a file of their own.
func outside(events *os.File, restored []string) error {
	info, err := events.Stat()
	switch {
	case err != nil:
		return usage("--events: %w", err)
	case !info.Mode().IsRegular():
		return usage("--events: %s is no file: it is read twice", events.Name())
	}
	for _, name := range restored {
		if other, err := os.Stat(name); err == nil && os.SameFile(info, other) {
			return usage("--events: %s is what is restored: the feed since a backup has to be kept elsewhere", events.Name())
		}
	}
	return nil
}
