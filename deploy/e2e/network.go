package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// Network is a small Internet on this machine: places, each a network namespace with a subnet of its own, hang on a
// hub that forwards. Links are cut in the hub, one direction at a time, and what is cut vanishes without an answer.
// It takes root, or a user namespace, and iproute2. Nothing of it is seen outside.
type Network struct {
	places []string
	prefix string // of the names of its namespaces
	spaces map[string]*space

	mu   sync.Mutex
	cuts [][2]string
}

// hub is the place that forwards; it is no place for anything else.
const hub = "hub"

// NewNetwork makes a network of places, the first of which is 10.77.1.0/24. What killed runs have left is removed.
func NewNetwork(places ...string) (*Network, error) {
	if _, err := exec.LookPath("ip"); err != nil {
		return nil, fmt.Errorf("no program ip to make network namespaces with: deploy/setup.sh test installs iproute2: %w", err)
	}
	if err := removeStale(); err != nil {
		return nil, err
	}
	owner, err := owner(os.Getpid())
	if err != nil {
		return nil, err
	}
	n := &Network{
		places: places, prefix: fmt.Sprintf("%s%s-%04x-", spacePrefix, owner, rand.IntN(1<<16)), spaces: map[string]*space{},
	}
	if err := n.build(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Network) build() error {
	for _, place := range append([]string{hub}, n.places...) {
		if err := ip("netns", "add", n.prefix+place); err != nil {
			return fmt.Errorf("network namespaces need root (or a user namespace) on this machine: %w", err)
		}
		s, err := openSpace(n.prefix + place)
		if err != nil {
			return err
		}
		n.spaces[place] = s
		if err := n.ip(place, "link", "set", "lo", "up"); err != nil {
			return err
		}
	}
	// With the reverse path looked up a cut of one direction would drop the other one as well.
	settings := map[string]string{"ip_forward": "1", "conf/all/rp_filter": "0", "conf/default/rp_filter": "0"}
	for i, place := range n.places {
		device := "to-" + place
		for _, words := range [][]string{
			{"link", "add", device, "netns", n.prefix + hub, "type", "veth", "peer", "name", "eth0", "netns", n.prefix + place},
			{"-n", n.prefix + hub, "addr", "add", fmt.Sprintf("10.77.%d.1/24", i+1), "dev", device},
			{"-n", n.prefix + hub, "link", "set", device, "up"},
			{"-n", n.prefix + place, "addr", "add", n.IP(place) + "/24", "dev", "eth0"},
			{"-n", n.prefix + place, "link", "set", "eth0", "up"},
			{"-n", n.prefix + place, "route", "add", "default", "via", fmt.Sprintf("10.77.%d.1", i+1)},
		} {
			if err := ip(words...); err != nil {
				return err
			}
		}
		settings["conf/"+device+"/rp_filter"] = "0"
	}
	return n.spaces[hub].do(func() error {
		for name, value := range settings {
			if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0o600); err != nil {
				return fmt.Errorf("set up the hub: %w", err)
			}
		}
		return nil
	})
}

// ip runs the program ip, once more within a place.
func (n *Network) ip(place string, words ...string) error {
	return ip(append([]string{"-n", n.prefix + place}, words...)...)
}

func ip(words ...string) error {
	out, err := exec.Command("ip", words...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(words, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// IP is the address of a place.
func (n *Network) IP(place string) string {
	return fmt.Sprintf("10.77.%d.2", slices.Index(n.places, place)+1)
}

func (n *Network) subnet(place string) string {
	if place == "" {
		return "0.0.0.0/0"
	}
	return fmt.Sprintf("10.77.%d.0/24", slices.Index(n.places, place)+1)
}

// Place is whose address host:port is; empty for none of the network's.
func (n *Network) Place(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	i := slices.IndexFunc(n.places, func(p string) bool { return n.IP(p) == host })
	if i < 0 {
		return ""
	}
	return n.places[i]
}

// Listen opens a listener at a place. It stays open when links are cut.
func (n *Network) Listen(place, addr string) (net.Listener, error) {
	return n.spaces[place].listen(addr)
}

// Dial connects from a place; addr names an IP address, since the name servers of this machine are not there.
func (n *Network) Dial(place string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, _, addr string) (conn net.Conn, err error) {
		err = n.spaces[place].do(func() error {
			var d net.Dialer
			conn, err = d.DialContext(ctx, "tcp4", addr)
			return err
		})
		return conn, err
	}
}

// Start starts a program at a place.
func (n *Network) Start(place, path string, args ...string) (*Process, error) {
	return startProcess(n.spaces[place].enter, path, args...)
}

// Run runs a program at a place to its end and returns what it printed.
func (n *Network) Run(ctx context.Context, place, path string, args ...string) (out string, err error) {
	err = n.spaces[place].do(func() error {
		raw, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
		if out = string(raw); err != nil {
			return fmt.Errorf("%s %v: %w: %s", path, args, err, strings.TrimSpace(out))
		}
		return nil
	})
	return out, err
}

// Cut drops all that goes from one place to another; an empty name is every place. The other direction is another cut.
func (n *Network) Cut(from, to string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	cut := [2]string{from, to}
	if slices.Contains(n.cuts, cut) {
		return nil
	}
	if err := n.ip(hub, "rule", "add", "from", n.subnet(from), "to", n.subnet(to), "blackhole"); err != nil {
		return err
	}
	n.cuts = append(n.cuts, cut)
	return nil
}

// CutBoth drops all that goes between two places.
func (n *Network) CutBoth(a, b string) error { return errors.Join(n.Cut(a, b), n.Cut(b, a)) }

// Isolate takes a place off the network, as a loss of power does.
func (n *Network) Isolate(place string) error { return n.CutBoth(place, "") }

// Heal ends all cuts.
func (n *Network) Heal() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(n.cuts) > 0 {
		cut := n.cuts[0]
		if err := n.ip(hub, "rule", "del", "from", n.subnet(cut[0]), "to", n.subnet(cut[1]), "blackhole"); err != nil {
			return err
		}
		n.cuts = n.cuts[1:]
	}
	return nil
}

// Close removes the network; it fails while a process is left in it.
func (n *Network) Close() error {
	var errs []error
	for place, s := range n.spaces {
		s.close()
		if place == hub {
			continue
		}
		var pids []byte
		errs = append(errs, Until(5*time.Second, "nobody is left at "+place, func() (err error) {
			if pids, err = exec.Command("ip", "netns", "pids", n.prefix+place).Output(); err == nil && len(pids) > 0 {
				err = fmt.Errorf("processes %v", strings.Fields(string(pids)))
			}
			return err
		}))
	}
	for place := range n.spaces {
		errs = append(errs, ip("netns", "del", n.prefix+place))
	}
	clear(n.spaces)
	return errors.Join(errs...)
}
