package contract

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// attack is a reason that an operator's command gives; it must be shown as these very letters.
const attack = `<script>document.title='owned'</script><img src=x onerror="document.title='owned'">`

// browser is a real Chromium with one page open.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu        sync.Mutex
	complaint []string // errors of console, scripts, network and policy, in order
}

func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("the page is tested in a real Chromium and there is none: install it with deploy/setup.sh test")
	return ""
}

func openBrowser(t *testing.T) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium(t)), chromedp.NoSandbox,
		chromedp.WindowSize(1280, 900), chromedp.UserDataDir(t.TempDir()),
		// Everything the browser asks for must come from the server under test.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"),
		chromedp.Flag("disable-dev-shm-usage", true))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, hangUp := chromedp.NewContext(allocator)
	b := &browser{t: t, ctx: ctx}
	var hearing sync.WaitGroup
	t.Cleanup(func() {
		hangUp()
		hearing.Wait()
		stop()
	})
	b.do()
	messages := chromedp.Console(ctx)
	hearing.Go(func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			b.hear(m)
		}
	})
	call(b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
		Source: `document.addEventListener('securitypolicyviolation',
			(e) => console.error('policy violated: ' + e.violatedDirective + ' by ' + e.blockedURI))`,
	})
	return b
}

// hear keeps what a page must not say.
func (b *browser) hear(m chromedp.ConsoleMessage) {
	if m.Type == chromedp.ConsoleLog || m.Type == chromedp.ConsoleDebug || m.Type == chromedp.ConsoleInfo {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaint = append(b.complaint, fmt.Sprintf("%s: %s %s", m.Type, m.Text, m.URL))
}

func (b *browser) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.complaint)
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx := b.ctx
	if len(steps) > 0 { // with none it starts the browser, which lives as long as the context
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(b.ctx, patience)
		defer cancel()
	}
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(fmt.Errorf("browser: %w", err))
	}
}

// ask evaluates an expression in the page.
func ask[T any](b *browser, js string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	out, err := chromedp.Run(ctx, chromedp.Evaluate[T](js))
	if err != nil {
		b.t.Fatal(fmt.Errorf("browser, %s: %w", js, err))
	}
	return out
}

// call sends one command of the DevTools protocol.
func call[P, R any](b *browser, command cdp.Command[P, R], params P) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, command, params); err != nil {
		b.t.Fatal(fmt.Errorf("browser: %w", err))
	}
}

// text is what a person reads in a part of the page.
func (b *browser) text(id string) string {
	b.t.Helper()
	return ask[string](b, fmt.Sprintf("document.getElementById(%q).innerText", id))
}

func (b *browser) is(js string) bool {
	b.t.Helper()
	return ask[bool](b, js)
}

// reads waits until a part of the page has all of the words.
func (b *browser) reads(id string, words ...string) {
	b.t.Helper()
	last := ""
	defer func() {
		if b.t.Failed() {
			b.t.Logf("#%s reads:\n%s", id, last)
		}
	}()
	until(b.t, fmt.Sprintf("#%s reads %q", id, words), func() bool {
		last = b.text(id)
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(last, w) })
	})
}

// picture takes the whole page in a colour scheme and a width, checks that there is something on it, and keeps it where
// EVENKEEL_PICTURES says, if it does.
func (b *browser) picture(name, scheme string, width int64) {
	b.t.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	b.do(chromedp.EmulateViewport(width, 900))
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	raw, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(fmt.Errorf("browser: %w", err))
	}
	img, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		b.t.Fatal(err)
	}
	r, g, bl, _ := img.At(2, 2).RGBA()
	if bright := (r+g+bl)/3 > 0x7fff; bright != (scheme == "light") {
		b.t.Errorf("%s: the page is bright: %v", name, bright)
	}
	for _, part := range []string{"documentElement", "querySelector('#sites')", "querySelector('#decision')"} {
		if b.is(fmt.Sprintf("document.%s.scrollWidth > document.%[1]s.clientWidth", part)) {
			b.t.Errorf("%s: %s is wider than its place on a window of %d", name, part, width)
		}
	}
	dir := os.Getenv("EVENKEEL_PICTURES")
	if dir == "" {
		dir = b.t.TempDir()
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), raw, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// TestThePage: what a person sees of a site that fails, is drained, and of a server that goes away.
func TestThePage(t *testing.T) {
	t.Parallel()
	b := openBrowser(t)
	s, w, x, text := stage(t)
	b.do(chromedp.Navigate(s.url + "/"))
	b.reads("status", "live", "acts", "lab")
	b.reads("sites", "fra", "ams", "lon", "checkout", "healthy", "33.", "active", "agent heard", "weight 100 %")
	b.reads("episodes", "None.")
	b.reads("actions", "None yet.")
	if n := strings.Count(b.text("sites"), "healthy"); n != 3 {
		t.Errorf("%d of 3 sites are healthy on the page", n)
	}
	b.picture("calm-light", "light", 1280)

	x.fail(1)
	w.setDown("fra", true)
	b.reads("episodes", "failing", "checkout at fra", "dead-service", "routing", "First evidence")
	b.reads("actions", "succeeded", "drain checkout at fra", "weight to 0 % by director", "2 attempts", "policy dead-service")
	b.reads("sites", "failing", "drained", "weight 0 %")
	b.do(chromedp.Click(chromedp.CSS("#actions summary")))
	b.reads("actions", "retry", "HTTP 503", "done", "HTTP 200")

	s.order("brake", "on", "--reason", attack)
	b.reads("alarms", "The brake is on", attack)
	b.reads("status", "does not act, the brake is on")
	b.reads("story", attack, "drain", "fra", "director")
	if b.is(`document.title.includes('owned') || document.querySelectorAll('main script, main img, #alarms script, #alarms img').length > 0`) {
		t.Error("the words of a reason became a part of the page")
	}
	if !b.is(`document.querySelector('#actions details').open`) {
		t.Error("the attempts were closed again while the page went on")
	}
	b.decisionIs(s)
	b.picture("failing-light", "light", 1280)
	b.picture("failing-dark", "dark", 1280)
	b.picture("failing-narrow", "light", 390)
	if c := b.complaints(); len(c) > 0 {
		t.Errorf("the browser complains:\n%s", strings.Join(c, "\n"))
	}

	// From here on the browser may say that it cannot reach the server: it is true.
	story := b.text("story")
	s.now.kill()
	b.reads("alarms", "The connection to the server is lost", "Everything below is old")
	b.reads("status", "CONNECTION LOST", "acts or not: unknown")
	if !b.is(`document.body.classList.contains('old') && document.title.startsWith('✖') && document.getElementById('alarms').getAttribute('role') === 'alert'`) {
		t.Error("the page does not look like old news")
	}
	if b.text("story") != story {
		t.Error("the story went away with the server")
	}
	b.picture("lost-light", "light", 1280)
	b.picture("lost-dark", "dark", 1280)

	s.start(text)
	b.reads("status", "live")
	until(t, "the page is no longer old", func() bool { return b.is(`!document.body.classList.contains('old')`) })
	if alarms := b.text("alarms"); strings.Contains(alarms, "lost") {
		t.Errorf("the page still says: %s", alarms)
	}
	s.order("brake", "off", "--reason", "the test goes on")
	w.setDown("fra", false)
	b.reads("episodes", "None.")
	b.reads("sites", "active")
	b.reads("story", "closed after 2 actions", "the test goes on")
	for _, c := range b.complaints() {
		if strings.Contains(c, "policy violated") || strings.Contains(c, "Content Security Policy") || strings.HasPrefix(c, "exception") {
			t.Errorf("the browser complains: %s", c)
		}
	}
}

// decisionIs compares the last decision on the page with the record: every guard with its ruling and its sentence.
func (b *browser) decisionIs(s *server) {
	b.t.Helper()
	var open []episode
	s.get("/api/v1/episodes?open=true", &open)
	if len(open) != 1 {
		b.t.Fatalf("%d episodes are open", len(open))
	}
	var d decision
	s.get("/api/v1/decisions/"+open[0].DecisionID, &d)
	if len(d.Rulings) < 19 {
		b.t.Errorf("only %d guards ruled: %+v", len(d.Rulings), d.Rulings)
	}
	words := []string{d.Sentence, fmt.Sprintf("Rulings of %d guards", len(d.Rulings))}
	for _, r := range d.Rulings {
		words = append(words, r.Guard, strings.ReplaceAll(r.Answer, "_", " "), r.Sentence)
	}
	b.reads("decision", words...)
	if !b.is(fmt.Sprintf(`document.querySelectorAll('#decision tbody tr').length === %d`, len(d.Rulings))) {
		b.t.Error("the table of rulings has not one row a guard")
	}
}
