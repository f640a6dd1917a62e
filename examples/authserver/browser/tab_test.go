package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// chromium starts the browser. Tests that need it run where BROWSER is set, and fail there if it is missing.
func chromium(t *testing.T) context.Context {
	t.Helper()
	if os.Getenv("BROWSER") == "" {
		t.Skip("BROWSER is not set; see doc.go")
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox)...)
	t.Cleanup(cancel)
	ctx, _ = chromedp.NewContext(ctx)
	t.Cleanup(func() { // unlike the end of the context, this waits until the browser is gone
		if err := chromedp.Cancel(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// tab is one browser of a person: what it remembers is its own. It uses nothing but the mouse, the keyboard, and what the
// developers' tools see, so that it does without JavaScript too.
type tab struct {
	*testing.T
	ctx  context.Context
	mu   sync.Mutex
	said []string // what the console has said: errors, warnings, violations of the policy
}

const patience = time.Minute

func open(t *testing.T, browser context.Context) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	b := &tab{T: t, ctx: ctx}
	if err := errors.Join(chromedp.Do(ctx), chromedp.Listen(ctx, b.listen)); err != nil {
		t.Fatal(err)
	}
	call(b, log.Enable, cdp.Empty{})
	call(b, runtime.Enable, cdp.Empty{})
	call(b, audits.Enable, cdp.Empty{})
	return b
}

// call is a command of the developers' tools.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) R {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	result, err := chromedp.Call(ctx, command, params)
	if err != nil {
		b.Fatalf("%s: %v", command.Method, err)
	}
	return result
}

func (b *tab) listen(event any) {
	said := ""
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			said = fmt.Sprintf("%s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL)
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			said = fmt.Sprintf("console: %v", e.Args)
		}
	case *runtime.EventExceptionThrown:
		said = e.ExceptionDetails.Text
	case *audits.EventIssueAdded:
		if e.Issue.Code == audits.InspectorIssueCodeContentSecurityPolicyIssue {
			said = "Content Security Policy: " + e.Issue.Details.ContentSecurityPolicyIssueDetails.ViolatedDirective
		}
	}
	if said != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.said = append(b.said, said)
	}
}

// wantQuiet checks that the console has said nothing.
func (b *tab) wantQuiet() {
	b.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.said) > 0 {
		b.Errorf("the console says:\n%s", strings.Join(b.said, "\n"))
	}
}

// lead does what leads to another page, and waits for it.
func (b *tab) lead(do func()) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	step := chromedp.Func(func(context.Context, *chromedp.Target) error { do(); return nil })
	if _, err := chromedp.RunResponse(ctx, step); err != nil {
		b.Fatal(err, b.html())
	}
}

func (b *tab) visit(url string) {
	b.Helper()
	b.lead(func() { call(b, page.Navigate, page.NavigateParams{URL: url}) })
}

// node is what a selector names. chromedp reads the page too, and whoever comes second has other numbers for its nodes: so
// it is tried again, and the answer is a number that stays.
func (b *tab) node(selector string) cdp.BackendNodeID {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	for {
		id, err := find(ctx, selector)
		if err == nil {
			return id
		}
		if errors.Is(err, errNoNode) || ctx.Err() != nil {
			b.Fatalf("%s: %v", selector, err)
		}
	}
}

var errNoNode = errors.New("the page has none")

func find(ctx context.Context, selector string) (cdp.BackendNodeID, error) {
	document, err := chromedp.Call(ctx, dom.GetDocument, dom.GetDocumentParams{})
	if err != nil {
		return 0, err
	}
	found, err := chromedp.Call(ctx, dom.QuerySelector, dom.QuerySelectorParams{NodeID: document.Root.NodeID, Selector: selector})
	if err != nil {
		return 0, err
	}
	if found.NodeID == 0 {
		return 0, errNoNode
	}
	node, err := chromedp.Call(ctx, dom.DescribeNode, dom.DescribeNodeParams{NodeID: found.NodeID})
	if err != nil {
		return 0, err
	}
	return node.Node.BackendNodeID, nil
}

func (b *tab) fill(selector, text string) {
	b.Helper()
	call(b, dom.Focus, dom.FocusParams{BackendNodeID: b.node(selector)})
	call(b, input.InsertText, input.InsertTextParams{Text: text})
}

// click clicks in the middle of a thing, and waits for the page that it leads to.
func (b *tab) click(selector string) {
	b.Helper()
	id := b.node(selector)
	call(b, dom.ScrollIntoViewIfNeeded, dom.ScrollIntoViewIfNeededParams{BackendNodeID: id})
	quads := call(b, dom.GetContentQuads, dom.GetContentQuadsParams{BackendNodeID: id}).Quads
	if len(quads) == 0 {
		b.Fatalf("%s is not to be seen", selector)
	}
	q := quads[0]
	b.lead(func() {
		for _, what := range []input.DispatchMouseEventType{input.DispatchMouseEventTypeMousePressed, input.DispatchMouseEventTypeMouseReleased} {
			call(b, input.DispatchMouseEvent, input.DispatchMouseEventParams{
				Type: what, X: (q[0] + q[4]) / 2, Y: (q[1] + q[5]) / 2, Button: input.MouseButtonLeft, ClickCount: 1,
			})
		}
	})
}

func (b *tab) html() string {
	b.Helper()
	return call(b, dom.GetOuterHTML, dom.GetOuterHTMLParams{BackendNodeID: b.node("html")}).OuterHTML
}

func (b *tab) wantText(texts ...string) {
	b.Helper()
	page := b.html()
	for _, text := range texts {
		if !strings.Contains(page, text) {
			b.Fatalf("the page does not show %q:\n%s", text, page)
		}
	}
}

// aside evaluates an expression in a world beside the page's own. It sees the page, and the page's policy, which stays as it
// is, does not concern it.
func (b *tab) aside(result any, expressions ...string) {
	b.Helper()
	frame := call(b, page.GetFrameTree, cdp.Empty{}).FrameTree.Frame.ID
	world := call(b, page.CreateIsolatedWorld, page.CreateIsolatedWorldParams{FrameID: frame}).ExecutionContextID
	for i, expression := range expressions {
		last := i == len(expressions)-1
		value := call(b, runtime.Evaluate, runtime.EvaluateParams{
			Expression: expression, ContextID: world, AwaitPromise: &last, ReturnByValue: &last,
		})
		if value.ExceptionDetails != nil {
			b.Fatal(value.ExceptionDetails)
		}
		if last {
			if err := json.Unmarshal(value.Result.Value, result); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// grave is what axe-core finds serious or critical.
func (b *tab) grave() []string {
	b.Helper()
	axe, err := os.ReadFile(filepath.Join("node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		b.Fatal("npm ci has not been run: ", err)
	}
	var found struct {
		Passes     int
		Violations []string
	}
	b.aside(&found, string(axe)+"; undefined", `axe.run().then((r) => ({
		Passes: r.passes.length,
		Violations: r.violations.filter((v) => ["serious", "critical"].includes(v.impact)).map((v) => v.id + ": " + v.nodes.map((n) => n.html).join(" ")),
	}))`)
	if found.Passes < 10 {
		b.Fatalf("axe has looked at %d rules only", found.Passes)
	}
	return found.Violations
}

// wantAccessible checks the page by axe-core, in light and in dark colours, and that nothing is wider than the window.
func (b *tab) wantAccessible() {
	b.Helper()
	for _, scheme := range []string{"dark", "light"} {
		call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		if found := b.grave(); len(found) > 0 {
			b.Errorf("%s: axe finds\n%s", scheme, strings.Join(found, "\n"))
		}
	}
	var wider int
	if b.aside(&wider, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); wider > 0 {
		b.Errorf("the page is %d pixels wider than the window", wider)
	}
}

// window is one of a size, on a phone or not.
func (b *tab) window(width, height int64, phone bool) *tab {
	b.Helper()
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: height, DeviceScaleFactor: 1, Mobile: phone,
	})
	return b
}

// withoutJavaScript has the browser run no script at all.
func (b *tab) withoutJavaScript() *tab {
	b.Helper()
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	return b
}

func (b *tab) picture() []byte {
	b.Helper()
	return call(b, page.CaptureScreenshot, page.CaptureScreenshotParams{Format: page.CaptureScreenshotFormatPng}).Data
}
