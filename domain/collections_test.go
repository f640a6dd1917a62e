package domain_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"example.com/tokenstore/domain"
)

func TestResourceServersAreImmutable(t *testing.T) {
	given := []domain.ResourceServer{{Audience: "first", Scopes: "read"}, {Audience: "second"}}
	want := slices.Clone(given)
	servers := must(domain.NewResourceServers(given...))
	kept := servers
	check := func(what string) {
		t.Helper()
		for _, s := range []domain.ResourceServers{servers, kept} {
			if got := slices.Collect(s.All()); !slices.Equal(got, want) {
				t.Errorf("%s changes the list to %v", what, got)
			}
		}
	}
	check("nothing")
	given[0] = domain.ResourceServer{Audience: "changed"}
	check("writing to the slice that went in")
	out := slices.Collect(servers.All())
	out[0].Audience = "changed"
	_ = append(out[:1], domain.ResourceServer{Audience: "changed"})
	check("writing to what came out")
	for rs := range servers.All() {
		rs.Audience = "changed"
		break
	}
	check("writing to what is walked")
	data := must(servers.MarshalJSON())
	clear(data)
	check("writing to the JSON that came out")

	other := servers
	data = []byte(`[{"audience":"third","scopes":""}]`)
	if err := json.Unmarshal(data, &other); err != nil {
		t.Fatal(err)
	}
	check("unmarshalling into a copy")
	clear(data)
	if !other.HasAudience("third") || other.HasAudience("first") || other.Len() != 1 {
		t.Error("the copy does not hold what was unmarshalled")
	}
}

func TestAudiencesAndScopes(t *testing.T) {
	servers := must(domain.NewResourceServers(
		domain.ResourceServer{Audience: "b", Scopes: "write read"}, domain.ResourceServer{Audience: "a"},
		domain.ResourceServer{Audience: "b", Scopes: "read admin"},
	))
	if got := servers.Audiences(); !slices.Equal(got, []string{"b", "a"}) {
		t.Errorf("audiences %q", got)
	}
	if got := servers.Scopes(); !slices.Equal(got, []string{"write", "read", "admin"}) {
		t.Errorf("scopes %q", got)
	}
	if none := (domain.ResourceServers{}); len(none.Audiences())+len(none.Scopes()) != 0 {
		t.Error("of no resource servers there are some")
	}
}

func TestMetadataIsImmutable(t *testing.T) {
	given := map[string]string{"b": "2", "a": "1", "c": ""}
	want := maps.Clone(given)
	metadata := must(domain.NewMetadata(given))
	kept := metadata
	check := func(what string) {
		t.Helper()
		for _, m := range []domain.Metadata{metadata, kept} {
			if got := maps.Collect(m.All()); !maps.Equal(got, want) {
				t.Errorf("%s changes the entries to %v", what, got)
			}
		}
	}
	check("nothing")
	given["a"] = "changed"
	delete(given, "b")
	check("writing to the map that went in")
	maps.Collect(metadata.All())["a"] = "changed"
	check("writing to what came out")
	other := metadata
	if err := json.Unmarshal([]byte(`{"a":"changed","d":"4"}`), &other); err != nil {
		t.Fatal(err)
	}
	check("unmarshalling into a copy")
	if got := maps.Collect(other.All()); !maps.Equal(got, map[string]string{"a": "changed", "d": "4"}) {
		t.Errorf("the copy holds %v", got)
	}
}

func TestResourceServers(t *testing.T) {
	var none domain.ResourceServers
	if none.Len() != 0 || none.HasAudience("") || len(slices.Collect(none.All())) != 0 {
		t.Error("the zero value is not empty")
	}
	if got := string(must(json.Marshal(none))); got != "[]" {
		t.Errorf("JSON of none is %s", got)
	}
	servers := must(domain.NewResourceServers(domain.ResourceServer{Audience: "b", Scopes: "x y"}, domain.ResourceServer{Audience: "a"}))
	if !servers.HasAudience("a") || !servers.HasAudience("b") || servers.HasAudience("x") || servers.HasAudience("") {
		t.Error("HasAudience does not look at all audiences, or at more")
	}
	if got := string(must(json.Marshal(servers))); got != `[{"audience":"b","scopes":"x y"},{"audience":"a","scopes":""}]` {
		t.Errorf("JSON is %s", got)
	}
}

func TestMetadata(t *testing.T) {
	var none domain.Metadata
	if _, ok := none.Get("a"); ok || none.Len() != 0 {
		t.Error("the zero value is not empty")
	}
	metadata := must(domain.NewMetadata(map[string]string{"b": "2", "a": "", "C": "3"}))
	if value, ok := metadata.Get("a"); !ok || value != "" {
		t.Error("an empty value is taken for none")
	}
	if _, ok := metadata.Get("A"); ok {
		t.Error("keys are found in another case")
	}
	var order []string
	for key := range metadata.All() {
		order = append(order, key)
	}
	if !slices.Equal(order, []string{"C", "a", "b"}) {
		t.Errorf("the order of keys is %v", order)
	}
	for range metadata.All() {
		break // a walk may stop early
	}
	for _, m := range []domain.Metadata{none, must(domain.NewMetadata(map[string]string{}))} {
		if got := string(must(json.Marshal(m))); got != "null" {
			t.Errorf("JSON of none is %s", got)
		}
	}
}

// Of several errors it is always that of the first key.
func TestFirstErrorOfMaps(t *testing.T) {
	long := strings.Repeat("v", domain.MaxMetadataText)
	for range 20 {
		_, err := domain.NewMetadata(map[string]string{"c": long + "xx", "b": long + "x", "!": "", "a": ""})
		if field := wantField(t, err, "refresh_token_metadata"); field.Limit != "of keys of 1..255 characters out of A-Z a-z 0-9 _ -" {
			t.Fatalf("metadata: got %v", err)
		}
		_, err = domain.NewPepperRing("a", map[string][]byte{"a": make([]byte, 15), "b": make([]byte, 14), "": make([]byte, 16), "c": nil})
		wantField(t, err, "pepper_key_id")
	}
}

func TestCollectionsUnmarshalRefused(t *testing.T) {
	long := strings.Repeat("x", 601)
	servers := must(domain.NewResourceServers(domain.ResourceServer{Audience: "was"}))
	for data, field := range map[string]string{
		`{}`: "resource_servers", `"a"`: "resource_servers", `1`: "resource_servers", `[1]`: "resource_servers",
		`[{"audience":1}]`: "resource_servers", `[{"audience":"a","scopes":["b"]}]`: "resource_servers",
		`[null]`: "audience", `[{}]`: "audience", `[{"audience":""}]`: "audience", `[{"audience":"` + long + `"}]`: "audience",
		`[{"audience":"a","scopes":"` + strings.Repeat("x", 4001) + `"}]`:   "scopes",
		`[{"audience":"a","scopes":"\u0000"}]`:                              "scopes",
		"[" + strings.Repeat(`{"audience":"a"},`, 50) + `{"audience":"a"}]`: "resource_servers",
	} {
		wantField(t, json.Unmarshal([]byte(data), &servers), field)
		if !servers.HasAudience("was") {
			t.Fatalf("%.40s is refused, and yet changes the value", data)
		}
	}
	metadata := must(domain.NewMetadata(map[string]string{"was": ""}))
	for _, data := range []string{
		`[]`, `"a"`, `1`, `{"a":1}`, `{"a":null}`, `{"a":{}}`, `{"":"a"}`, `{"a b":"c"}`, `{"a":"\u0000"}`, `{"a":"` + long + `"}`,
	} {
		wantField(t, json.Unmarshal([]byte(data), &metadata), "refresh_token_metadata")
		if _, ok := metadata.Get("was"); !ok {
			t.Fatalf("%.40s is refused, and yet changes the value", data)
		}
	}
	for _, data := range []string{"null", "[]"} {
		if err := json.Unmarshal([]byte(data), &servers); err != nil || servers.Len() != 0 {
			t.Errorf("%s leaves %d resource servers, %v", data, servers.Len(), err)
		}
	}
	for _, data := range []string{"null", "{}"} {
		if err := json.Unmarshal([]byte(data), &metadata); err != nil || metadata.Len() != 0 {
			t.Errorf("%s leaves %d entries, %v", data, metadata.Len(), err)
		}
	}
}

func drawMetadata(t *rapid.T) domain.Metadata {
	entries := rapid.MapOfN(rapid.StringMatching(`[A-Za-z0-9_-]{1,5}`), drawText(0), 0, 4).Draw(t, "metadata")
	return must(domain.NewMetadata(entries))
}

func drawServers(t *rapid.T) domain.ResourceServers {
	server := rapid.Custom(func(t *rapid.T) domain.ResourceServer {
		return domain.ResourceServer{Audience: drawText(1).Draw(t, "audience"), Scopes: drawText(0).Draw(t, "scopes")}
	})
	return must(domain.NewResourceServers(rapid.SliceOfN(server, 0, 3).Draw(t, "resource servers")...))
}

// drawText draws short valid text, often of what JSON escapes.
func drawText(least int) *rapid.Generator[string] {
	return rapid.StringOfN(rapid.OneOf(
		rapid.SampledFrom([]rune("ab \"\\/<>&'\n\t\x01\x7f\u2028\u2029\ufffdé世🗝")), rapid.Rune().Filter(func(r rune) bool { return r != 0 }),
	), least, 8, -1)
}

func TestCollectionsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		servers, metadata := drawServers(t), drawMetadata(t)
		var servers2 domain.ResourceServers
		var metadata2 domain.Metadata
		if json.Unmarshal(must(json.Marshal(servers)), &servers2) != nil || json.Unmarshal(must(json.Marshal(metadata)), &metadata2) != nil {
			t.Fatalf("what was marshalled does not unmarshal")
		}
		if !slices.Equal(slices.Collect(servers.All()), slices.Collect(servers2.All())) {
			t.Fatalf("resource servers are others after JSON")
		}
		if !maps.Equal(maps.Collect(metadata.All()), maps.Collect(metadata2.All())) || metadata.Len() != metadata2.Len() {
			t.Fatalf("metadata is another after JSON")
		}
	})
}
