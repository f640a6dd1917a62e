// Command gen writes the quickstart's input: refresh tokens in the JSON shape of the resource, one a line, as an auth
// server would export them. It is deterministic, so the files can be checked against it.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/oklog/ulid/v2"
)

// files are what it writes. From the cut-off on, a token has a session id.
var files = []file{
	{"tokens.ndjson", 1200, time.Date(2023, 9, 21, 0, 0, 0, 0, time.UTC)},
	{"tokens-us-3.ndjson", 120, time.Date(2024, 2, 22, 0, 0, 0, 0, time.UTC)},
}

type file struct {
	name   string
	tokens int
	cutOff time.Time
}

func main() {
	dir := flag.String("dir", "testdata", "directory to write to")
	flag.Parse()
	for _, f := range files {
		if err := f.create(*dir); err != nil {
			log.Fatal(err)
		}
	}
}

func (f file) create(dir string) error {
	out, err := os.Create(filepath.Join(dir, f.name))
	if err != nil {
		return err
	}
	defer out.Close()
	if err := f.write(out); err != nil {
		return err
	}
	return out.Close()
}

// write spreads the tokens evenly over the time around both cut-offs.
func (f file) write(out io.Writer) error {
	w := bufio.NewWriter(out)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	first := time.Date(2023, 1, 1, 8, 0, 0, 0, time.UTC)
	last := time.Date(2025, 6, 30, 8, 0, 0, 0, time.UTC)
	step := last.Sub(first) / time.Duration(f.tokens)
	for i := range f.tokens {
		at := first.Add(time.Duration(i) * step).Truncate(time.Millisecond)
		if at.Before(f.cutOff) && !at.Add(step).Before(f.cutOff) {
			at = f.cutOff.Add(-time.Millisecond) // the last legacy token ...
		} else if !at.Before(f.cutOff) && at.Add(-step).Before(f.cutOff) {
			at = f.cutOff // ... and the first that is none
		}
		if err := enc.Encode(f.token(i, at)); err != nil {
			return err
		}
	}
	return w.Flush()
}

type token struct {
	ID              string            `json:"id"`
	UserID          string            `json:"user_id"`
	CreatedAt       string            `json:"created_at"`
	IdleExpiresAt   *string           `json:"idle_expires_at"`
	ExpiresAt       *string           `json:"expires_at"`
	Device          map[string]string `json:"device,omitempty"`
	ClientID        string            `json:"client_id"`
	SessionID       *string           `json:"session_id"`
	Rotating        bool              `json:"rotating"`
	ResourceServers []resourceServer  `json:"resource_servers"`
	Metadata        map[string]string `json:"refresh_token_metadata"`
	LastExchangedAt *string           `json:"last_exchanged_at"`
}

type resourceServer struct {
	Audience string `json:"audience"`
	Scopes   string `json:"scopes"`
}

var clients = []string{"web", "ios", "android", "desktop", "tv"}

// token makes up the i-th token of the file. Whatever varies comes from a hash of its name and number.
func (f file) token(i int, at time.Time) token {
	hash := sha256.Sum256(fmt.Appendf(nil, "%s %d", f.name, i))
	pick := func(k, n int) int { return int(binary.BigEndian.Uint16(hash[16+2*k:])) % n }

	t := token{
		UserID:    fmt.Sprintf("auth0|user-%02d", 1+pick(0, 40)),
		ClientID:  clients[pick(1, len(clients))],
		CreatedAt: stamp(at),
		Rotating:  pick(2, 4) > 0,
		ResourceServers: []resourceServer{
			{"https://api.example.com", "read:orders write:orders"},
		},
	}
	if i%3 == 0 { // a kiosk that logs in all day
		t.UserID = "auth0|kiosk"
	}
	if i%50 == 9 { // a token that an older server issued
		t.ID = fmt.Sprintf("rt_%x", hash[:8])
	} else {
		var id ulid.ULID
		copy(id[6:], hash[:10])
		_ = id.SetTime(uint64(at.UnixMilli())) // fails after the year 10889
		t.ID = id.String()
	}
	if !at.Before(f.cutOff) {
		session := fmt.Sprintf("sess_%s_%d", t.UserID[len("auth0|"):], i/24) // a few tokens share one
		t.SessionID = &session
	}
	if pick(3, 3) == 0 {
		exchanged := stamp(at.Add(time.Duration(1+pick(4, 500)) * time.Hour))
		t.LastExchangedAt = &exchanged
	}
	if pick(5, 4) == 0 {
		t.Device = map[string]string{"initial_ip": fmt.Sprintf("203.0.113.%d", pick(6, 256)), "initial_asn": "64500"}
	}
	if pick(7, 5) == 0 {
		t.Metadata = map[string]string{"origin": "export"}
		t.ResourceServers = append(t.ResourceServers, resourceServer{"https://billing.example.com", "read:invoices"})
	}
	return t
}

func stamp(t time.Time) string { return t.Format("2006-01-02T15:04:05.000Z") }
