package e2e

import (
	"fmt"
	"net/http"
	"time"
)

// Shop is the service of a site, as small as it can be.
type Shop struct {
	URL    string // of a sale; /healthz is its entry
	server *http.Server
	done   chan struct{}
}

const shopPort = 8080

// OpenShop opens the shop of a place.
func OpenShop(n *Network, place string) (*Shop, error) {
	l, err := n.Listen(place, fmt.Sprintf("%s:%d", n.IP(place), shopPort))
	if err != nil {
		return nil, err
	}
	s := &Shop{URL: fmt.Sprintf("http://%s:%d/", n.IP(place), shopPort), done: make(chan struct{})}
	s.server = &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "sold at %s to %s", place, n.Place(r.RemoteAddr)) // the user may be gone
	})}
	go func() {
		defer close(s.done)
		_ = s.server.Serve(l) // ends with Close
	}()
	return s, nil
}

// Close is the shop's end as a kill is: nothing listens and all connections are gone.
func (s *Shop) Close() {
	_ = s.server.Close()
	<-s.done
}
