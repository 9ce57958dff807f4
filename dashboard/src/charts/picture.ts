// A chart as a PNG with its title and its sentence, whatever the page shows at the moment.
import { echarts } from './engine';
import type { ChartSpec, Look } from './spec';

const WIDTH = 960;
const RATIO = 2;

function lines(context: CanvasRenderingContext2D, text: string, width: number): string[] {
  const all: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    const longer = line ? `${line} ${word}` : word;
    if (line && context.measureText(longer).width > width) {
      all.push(line);
      line = word;
    } else line = longer;
  }
  return line ? [...all, line] : all;
}

/** Draws the chart off screen. */
export async function chartPng(spec: ChartSpec, look: Look): Promise<Blob> {
  const height = spec.height ?? 340;
  const holder = document.createElement('div');
  const chart = echarts.init(holder, null, { width: WIDTH, height, devicePixelRatio: RATIO });
  chart.setOption({ ...spec.option(look, WIDTH), animation: false });
  const drawn = chart.renderToCanvas({ pixelRatio: RATIO, backgroundColor: look.surface });
  const canvas = document.createElement('canvas');
  const context = canvas.getContext('2d');
  if (!context) throw new Error('this browser cannot draw');
  context.font = `14px ${look.font}`;
  const sentence = lines(context, spec.summary, WIDTH - 48);
  const head = 60 + sentence.length * 20;
  canvas.width = WIDTH * RATIO;
  canvas.height = (head + height + 12) * RATIO;
  context.scale(RATIO, RATIO);
  context.fillStyle = look.surface;
  context.fillRect(0, 0, WIDTH, head + height + 12);
  context.fillStyle = look.ink;
  context.font = `600 20px ${look.font}`;
  context.fillText(spec.title, 24, 40);
  context.fillStyle = look.muted;
  context.font = `14px ${look.font}`;
  sentence.forEach((line, index) => context.fillText(line, 24, 64 + index * 20));
  context.drawImage(drawn, 0, head, WIDTH, height);
  chart.dispose();
  return new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('the picture could not be made'))), 'image/png'));
}
