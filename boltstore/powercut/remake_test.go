package powercut_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/boltstore/internal/filetest"
	"example.com/tokenstore/boltstore/powercut"
	"example.com/tokenstore/internal/crashtest"
)

// site is where a file is made: a folder, in which the file lies that it is made of, or a backup elsewhere.
type site struct {
	folder, backup string
	open           *boltstore.Backend // of the file that is backed up, once it has been opened
}

func (s *site) path() string { return filepath.Join(s.folder, fileName) }

// remaking is a way to make a file, beside its place at first.
type remaking struct {
	name string
	made string // the name of what is made
	kept string // the name of what was there before; "" for nothing
	// begins says of what: of a file that is "sound" or "damaged"; "" for none.
	begins string
	run    func(context.Context, *site) error
}

// replaces reports whether what is made takes the place of what it is made of. Otherwise it is made once.
func (r *remaking) replaces() bool { return r.begins != "" && r.made == fileName }

const backupName = "backup.db"

func remakings() []remaking {
	return []remaking{
		{name: "compact", made: fileName, begins: "sound", run: func(ctx context.Context, s *site) error {
			_, err := boltstore.Compact(ctx, s.path(), nil)
			return err
		}},
		{name: "repair", made: fileName, kept: fileName + ".damaged", begins: "damaged", run: func(ctx context.Context, s *site) error {
			_, err := boltstore.Repair(ctx, s.path(), nil)
			return err
		}},
		{name: "backup", made: backupName, begins: "sound", run: func(ctx context.Context, s *site) (err error) {
			if s.open == nil {
				if s.open, err = boltstore.Open(s.path(), &boltstore.Options{MustExist: true}); err != nil {
					return err
				}
			}
			return s.open.Backup(ctx, filepath.Join(s.folder, backupName))
		}},
		{name: "restore", made: fileName, run: func(ctx context.Context, s *site) error {
			return boltstore.Restore(ctx, s.backup, s.path(), func(ctx context.Context, b *boltstore.Backend) error {
				_, err := tokenstore.Restore(ctx, b, tokenstore.RestoreRequest{
					ID: filetest.ID(200), Cutoff: true, Now: func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) },
				})
				return err
			})
		}},
	}
}

// remakeChild makes a file in the folder args[1], in the way that args[0] names.
func remakeChild(args []string) error {
	for _, r := range remakings() {
		if r.name == args[0] {
			return r.run(context.Background(), &site{folder: args[1], backup: args[2]})
		}
	}
	return errors.New("there is no such way")
}

// scene has what files are made of, and what has to be in them.
type scene struct {
	remaking
	image, backup string // the file that is there before, and the backup
	before        []byte // what that file holds
	source, want  string // what is told of that file, or, where it is damaged, should be; and of what is made
}

// newScene makes the files of a way, and has it make one where nothing fails.
func newScene(t *testing.T, r remaking) *scene {
	t.Helper()
	dir := t.TempDir()
	sound := filepath.Join(dir, "sound")
	c := &scene{remaking: r, backup: filepath.Join(dir, "backup"), image: filepath.Join(dir, "none")}
	h := &filetest.Host{Path: sound}
	for _, s := range filetest.History() {
		if err := s.Run(t.Context(), h); err != nil {
			t.Fatal(err)
		}
	}
	c.source = dump(t.Context(), t, h)
	if err := errors.Join(h.Backend.Backup(t.Context(), c.backup), h.Backend.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := boltstore.Compact(t.Context(), c.backup, nil); err != nil { // so that it is short
		t.Fatal(err)
	}
	if r.begins == "damaged" {
		if err := filetest.Spoil(sound); err != nil {
			t.Fatal(err)
		}
	}
	if err := filetest.Shorten(sound); err != nil {
		t.Fatal(err)
	}
	if r.begins != "" {
		c.image = sound
		c.before = read(t, sound)
	}
	if r.name != "restore" {
		c.want = c.source
		return c
	}
	s := &site{folder: dir, backup: c.backup}
	if err := r.run(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if c.want = told(t, s.path()); c.want == c.source {
		t.Fatal("a restored file must tell of its restoration")
	}
	return c
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// told is what a file holds that is in order.
func told(t *testing.T, path string) string {
	t.Helper()
	h := &filetest.Host{Path: path}
	if err := filetest.Open(t.Context(), h); err != nil {
		t.Fatalf("S5: the file must open: got %v", err)
	}
	defer func() { _ = h.Backend.Close() }()
	return dump(t.Context(), t, h)
}

// check looks at what is there: the file from before, or all of the new one; and whether it is the new one.
func (c *scene) check(t *testing.T, s *site) (complete bool) {
	t.Helper()
	path := filepath.Join(s.folder, c.made)
	if c.replaces() {
		complete = !bytes.Equal(read(t, path), c.before)
	} else {
		_, err := os.Stat(path)
		complete = !errors.Is(err, fs.ErrNotExist)
	}
	if complete {
		if got := told(t, path); got != c.want {
			t.Fatalf("S5: what was made must hold what it is made of:\ngot  %s\nwant %s", got, c.want)
		}
	}
	if complete && c.kept != "" && !bytes.Equal(read(t, filepath.Join(s.folder, c.kept)), c.before) {
		t.Fatal("the file from before must be kept")
	}
	if c.made != fileName && s.open == nil {
		if got := told(t, s.path()); got != c.source {
			t.Fatalf("S5: the file must hold what it held:\ngot  %s\nwant %s", got, c.source)
		}
	}
	return complete
}

// goOn has who comes next make the file, and leave nothing beside that is in the way.
func (c *scene) goOn(t *testing.T, s *site, complete bool) {
	t.Helper()
	err := c.run(t.Context(), s)
	if taken := complete && !c.replaces() && errors.Is(err, fs.ErrExist); err != nil && !taken {
		t.Fatalf("who comes next must come through: got %v", err)
	}
	if s.open != nil {
		if err := errors.Join(s.open.Create(t.Context(), "another"), s.open.Close()); err != nil {
			t.Fatalf("what is open must go on: got %v", err)
		}
		s.open = nil
	}
	if !c.check(t, s) {
		t.Fatal("who comes next must make the file")
	}
	entries, err := os.ReadDir(s.folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if c.replaces() && strings.HasPrefix(entry.Name(), ".") {
			t.Fatalf("what was left beside must be gone: there is %s", entry.Name())
		}
	}
}

// TestPowerCutWhileRemade cuts the power while a file is compacted, repaired, backed up or restored, also when that has just come to its
// end. On the disk is the file from before, or all of the new one; that one, if it was acknowledged.
func TestPowerCutWhileRemade(t *testing.T) {
	folder, disk := mount(t)
	ways := remakings()
	rounds := (crashtest.Rounds(t, "POWERCUTS", 120) + len(ways) - 1) / len(ways)
	cuts := 0
	defer func() { t.Attr("cuts", strconv.Itoa(cuts)) }()
	for _, r := range ways {
		t.Run(r.name, func(t *testing.T) {
			c := newScene(t, r)
			_, _, steps := c.cut(t, folder, disk, powercut.Setup{})
			before, after := 0, 0
			for round := range rounds {
				setup := powercut.Setup{Seed: uint64(round)}
				switch round % 3 {
				case 0: // when the end has been told
					setup.Cut = steps + 1
				case 1: // while the file gets its name
					setup.Cut = steps - round/3%10
				default:
					setup.Cut = 1 + round*steps/rounds
				}
				left, done, _ := c.cut(t, folder, disk, setup)
				s := &site{folder: left, backup: c.backup}
				complete := c.check(t, s)
				if done && !complete {
					t.Fatalf("S5: what was acknowledged must survive a power cut: with %+v", setup)
				}
				if complete {
					after++
				} else {
					before++
				}
				c.goOn(t, s, complete)
				cuts++
			}
			t.Logf("cut %d times within %d steps: %d had not made the file, %d had", rounds, steps, before, after)
			if rounds >= 10 && (before == 0 || after == 0) {
				t.Errorf("there must be both: %d had not made the file, %d had", before, after)
			}
		})
	}
}

// cut lets a process make the file until the power is cut, or cuts it when that has ended, and says what is left, in a folder, whether
// it had come to its end, and how many steps of the disk there were.
func (c *scene) cut(t *testing.T, folder string, disk *powercut.Remote, setup powercut.Setup) (left string, done bool, steps int) {
	t.Helper()
	setup.Name, setup.Image = fileName, c.image
	if err := disk.Insert(setup); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := child(ctx, t, "remake", c.name, folder, c.backup)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	err := cmd.Run()
	on, failed := disk.On()
	steps, other := disk.Steps()
	left = t.TempDir()
	if err := errors.Join(failed, other, disk.Cut(), disk.SaveAll(left)); err != nil {
		t.Fatal(err)
	}
	switch {
	case err == nil:
	case on:
		t.Fatalf("the process failed before the power was cut: %v and %s", err, complaints.Bytes())
	case !endedWell(err, false, complaints.Bytes()):
		t.Errorf("a process whose disk is gone must end with an error of its own: got %v and %s", err, complaints.Bytes())
	}
	return left, err == nil, steps
}
