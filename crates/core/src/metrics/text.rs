//! The text format. prometheus-client writes OpenMetrics; what is used of it here is also the older text format, which every
//! version of Prometheus, node_exporter and promtool reads: gauges alone, and `# EOF` is a comment there.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeLabel as _, EncodeLabelSet, GaugeValueEncoder, LabelSetEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::{Family, Sample, Value};

/// The content type of [`render`]'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The families as text, in their order.
pub fn render(families: Vec<Family>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(families)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { metric, samples } in &self.0 {
            let mut family = encoder.encode_descriptor(metric.name, metric.help, None, MetricType::Gauge)?;
            for Sample { labels, value } in samples {
                let names = metric.labels.iter().copied();
                let labels = Labels(names.zip(labels.iter().map(String::as_str)).collect());
                family.encode_family(&labels)?.encode_gauge(value)?;
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Labels<'a>(Vec<(&'a str, &'a str)>);

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        for label in &self.0 {
            label.encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

impl EncodeGaugeValue for Value {
    fn encode(&self, encoder: &mut GaugeValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => value.encode(encoder),
            Self::Fraction(value) => value.encode(encoder),
        }
    }
}
