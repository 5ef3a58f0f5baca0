package api

import (
	"errors"
	"strconv"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec
	refused  prometheus.Counter
}

func newMetrics(r prometheus.Registerer, s *server) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "evenkeel_api_requests_total", Help: "Requests answered, by route and status.",
		}, []string{"route", "status"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "evenkeel_api_refused_total", Help: "Orders refused for want of a valid token.",
		}),
	}
	if r == nil {
		return m, nil
	}
	streams := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "evenkeel_api_streams", Help: "Open event streams.",
	}, func() float64 { return float64(s.streams.open()) })
	return m, errors.Join(r.Register(m.requests), r.Register(m.refused), r.Register(streams))
}

func (m *metrics) count(c *gin.Context) {
	c.Next()
	route := c.FullPath()
	if route == "" {
		route = "/" // the page, and everything that is not there
	}
	m.requests.WithLabelValues(route, strconv.Itoa(c.Writer.Status())).Inc()
}
